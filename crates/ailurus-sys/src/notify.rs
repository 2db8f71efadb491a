//! Notice that a file has changed: inotify on the file and on its directory.
//!
//! A notice is a hint: it may come late, twice, or for nothing, and it does not come at all from other hosts (NFS). Where
//! the system has no inotify, or no watches left, there is none, and the caller must look at the file now and then.

#[cfg(target_os = "linux")]
pub use linux::Watch;
#[cfg(not(target_os = "linux"))]
pub use none::Watch;

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::{OsStr, OsString};
    use std::mem::MaybeUninit;
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
    use std::os::unix::ffi::OsStrExt;
    use std::path::{Path, PathBuf};

    use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
    use rustix::io::Errno;

    /// A watch of one file or directory.
    #[derive(Debug)]
    pub struct Watch {
        inotify: OwnedFd,
        path: PathBuf,
        /// The name in the watched directory that matters; `None`: all names.
        name: Option<OsString>,
        file: Option<i32>,
        directory: Option<i32>,
    }

    const CONTENT: WatchFlags = WatchFlags::MODIFY
        .union(WatchFlags::ATTRIB)
        .union(WatchFlags::CLOSE_WRITE)
        .union(WatchFlags::MOVE_SELF)
        .union(WatchFlags::DELETE_SELF);
    const NAMES: WatchFlags = WatchFlags::CREATE
        .union(WatchFlags::DELETE)
        .union(WatchFlags::MOVED_FROM)
        .union(WatchFlags::MOVED_TO)
        .union(WatchFlags::ONLYDIR);

    impl Watch {
        /// Watches a file, which need not exist yet: its content, its attributes, and whether another file takes its name.
        ///
        /// Returns `None` if neither the file nor its directory can be watched.
        pub fn file(path: &Path) -> Option<Self> {
            let name = path.file_name()?.to_owned();
            let mut watch = Self::new(path)?;
            watch.directory = watch.add(directory_of(path), NAMES);
            watch.name = Some(name);
            watch.watch_file();
            (watch.file.is_some() || watch.directory.is_some()).then_some(watch)
        }

        /// Watches a directory: which names it has, and the content of its files.
        ///
        /// Returns `None` if it cannot be watched.
        pub fn directory(path: &Path) -> Option<Self> {
            let mut watch = Self::new(path)?;
            watch.directory = watch.add(path, CONTENT.union(NAMES));
            watch.directory.is_some().then_some(watch)
        }

        /// Takes the notices that have come, without waiting, and returns whether any concerns what is watched.
        pub fn drain(&mut self) -> bool {
            let mut changed = false;
            let mut renamed = false;
            let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
            let mut reader = Reader::new(&self.inotify, &mut buffer);
            loop {
                match reader.next() {
                    Ok(event) => {
                        let named =
                            self.concerns(event.wd(), event.file_name().map(std::ffi::CStr::to_bytes));
                        changed |= named || event.events().contains(ReadFlags::QUEUE_OVERFLOW);
                        renamed |= named && Some(event.wd()) == self.directory;
                        renamed |= event.events().contains(ReadFlags::IGNORED);
                    }
                    Err(Errno::INTR) => {}
                    // Nothing more for now; any other error shows again as silence.
                    Err(_) => break,
                }
            }
            if renamed && self.name.is_some() {
                self.watch_file();
            }
            changed
        }

        fn new(path: &Path) -> Option<Self> {
            let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).ok()?;
            Some(Self { inotify, path: path.to_owned(), name: None, file: None, directory: None })
        }

        fn add(&self, path: &Path, flags: WatchFlags) -> Option<i32> {
            inotify::add_watch(&self.inotify, path, flags).ok()
        }

        /// Watches the file that has the name now. The watch of one that had it before is dropped.
        fn watch_file(&mut self) {
            let file = self.add(&self.path, CONTENT);
            if let Some(former) = self.file
                && Some(former) != file
            {
                // It fails if the file is gone, and then the kernel has dropped the watch.
                inotify::remove_watch(&self.inotify, former).ok();
            }
            self.file = file;
        }

        fn concerns(&self, watch: i32, name: Option<&[u8]>) -> bool {
            if self.name.is_none() || Some(watch) == self.file {
                return true;
            }
            Some(watch) == self.directory && name == self.name.as_deref().map(OsStr::as_bytes)
        }
    }

    impl AsFd for Watch {
        /// Readable when there may be notices to [`drain`](Watch::drain).
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.inotify.as_fd()
        }
    }

    fn directory_of(path: &Path) -> &Path {
        match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod none {
    use std::convert::Infallible;
    use std::os::fd::{AsFd, BorrowedFd};
    use std::path::Path;

    /// A watch of one file or directory; there is none on this system.
    #[derive(Debug)]
    pub struct Watch(Infallible);

    impl Watch {
        /// Returns `None`.
        pub fn file(_path: &Path) -> Option<Self> {
            None
        }

        /// Returns `None`.
        pub fn directory(_path: &Path) -> Option<Self> {
            None
        }

        /// Never called.
        pub fn drain(&mut self) -> bool {
            match self.0 {}
        }
    }

    impl AsFd for Watch {
        fn as_fd(&self) -> BorrowedFd<'_> {
            match self.0 {}
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write;
    use std::path::Path;

    use super::*;

    fn append(path: &Path) {
        let mut file = OpenOptions::new().append(true).create(true).open(path).expect("a scratch file");
        file.write_all(b"x").expect("room for one octet");
    }

    #[test]
    fn a_file_is_watched_through_its_changes_of_name() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let path = scratch.path().join("mbox");
        let Some(mut watch) = Watch::file(&path) else { return println!("no inotify: not run") };
        assert!(!watch.drain());
        append(&path);
        assert!(watch.drain(), "created");
        append(&path);
        assert!(watch.drain(), "written to");
        assert!(!watch.drain(), "nothing new");
        append(&scratch.path().join("other"));
        assert!(!watch.drain(), "another file");
        fs::rename(scratch.path().join("other"), &path).expect("renamed");
        assert!(watch.drain(), "replaced");
        append(&path);
        assert!(watch.drain(), "the new file is watched");
        fs::remove_file(&path).expect("removed");
        assert!(watch.drain(), "removed");
        append(&path);
        assert!(watch.drain(), "created again");
        append(&path);
        assert!(watch.drain(), "and watched again");
    }

    #[test]
    fn a_directory_is_watched() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let Some(mut watch) = Watch::directory(scratch.path()) else {
            return println!("no inotify: not run");
        };
        append(&scratch.path().join("1"));
        assert!(watch.drain());
        assert!(!watch.drain());
        assert!(Watch::directory(&scratch.path().join("1")).is_none(), "not a directory");
        assert!(Watch::file(&scratch.path().join("no/such")).is_none());
    }
}
