//! Notices of changed files, by inotify.

use rustix::fs::inotify;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// A watch over a few files or directories.
pub(crate) struct Watch {
    notices: OwnedFd,
    paths: Vec<PathBuf>,
    marks: Vec<i32>,
}

impl Watch {
    /// Watches these paths; those that cannot be watched are left out. `None` where the system has no more watches:
    /// whoever waits looks from time to time anyway.
    pub(crate) fn new(paths: &[PathBuf]) -> Option<Self> {
        let notices =
            inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).ok()?;
        let mut watch = Self { notices, paths: Vec::new(), marks: Vec::new() };
        watch.set(paths);
        Some(watch)
    }

    /// Watches these paths instead.
    pub(crate) fn set(&mut self, paths: &[PathBuf]) {
        if self.paths == paths {
            return;
        }
        for mark in self.marks.drain(..) {
            inotify::remove_watch(&self.notices, mark).ok();
        }
        // Not ATTRIB: sessions set the file's times themselves, and would wake themselves for ever.
        let changes = inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::MOVE_SELF
            | inotify::WatchFlags::DELETE_SELF;
        self.marks =
            paths.iter().filter_map(|path| inotify::add_watch(&self.notices, path, changes).ok()).collect();
        self.paths = paths.to_vec();
    }

    /// Becomes readable when something changed.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.notices.as_fd()
    }

    /// Forgets the notices that came.
    pub(crate) fn drain(&mut self) {
        let mut room = [const { MaybeUninit::uninit() }; 4096];
        let mut reader = inotify::Reader::new(&self.notices, &mut room);
        while reader.next().is_ok() {}
    }
}
