//! The lock program, which may write where we may not (spec/storage-common.md §6.4).

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where the lock program is looked for, in this order.
pub const LOCK_PROGRAMS: [&str; 4] =
    ["/usr/libexec/mlock", "/usr/sbin/mlock", "/etc/mlock", "/usr/bin/mlock"];

/// A lock program that holds a dot-lock for us.
#[derive(Debug)]
pub(super) struct Helper {
    child: Child,
}

impl Helper {
    /// Starts the first lock program that there is, and waits until it has the lock.
    pub(super) fn start(path: &Path, file: &File, timeout: Duration) -> Option<Self> {
        let program = LOCK_PROGRAMS.iter().map(PathBuf::from).find(|program| program.is_file())?;
        Self::start_program(&program, path, file, timeout)
    }

    fn start_program(program: &Path, path: &Path, file: &File, timeout: Duration) -> Option<Self> {
        // A duplicate made so is inherited by the program; ours is closed again below.
        let inherited = rustix::io::dup(file).ok()?;
        let mut child = Command::new(program)
            .arg(inherited.as_raw_fd().to_string())
            .arg(std::path::absolute(path).ok()?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .ok()?;
        drop(inherited);
        if read_octet(&mut child, timeout) == Some(b'+') {
            return Some(Self { child });
        }
        // It may be trying for minutes yet, and would not hear us before.
        child.kill().ok();
        child.wait().ok();
        None
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        if let Some(mut stdin) = self.child.stdin.take() {
            // Closing the pipe says the same, should this fail.
            stdin.write_all(b"+").ok();
        }
        drop(self.child.stdout.take());
        self.child.wait().ok();
    }
}

fn read_octet(child: &mut Child, timeout: Duration) -> Option<u8> {
    let stdout = child.stdout.as_mut()?;
    let end = Instant::now() + timeout;
    loop {
        let left = Timespec::try_from(end.saturating_duration_since(Instant::now())).ok()?;
        match poll(&mut [PollFd::new(&*stdout, PollFlags::IN)], Some(&left)) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(ready) if ready > 0 => break,
            _ => return None,
        }
    }
    let mut octet = [0];
    (stdout.read(&mut octet).ok()? == 1).then_some(octet[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn program(directory: &Path, script: &str) -> PathBuf {
        let path = directory.join("mlock");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn the_program_locks_until_told_to_stop() {
        let directory = tempfile::tempdir().unwrap();
        let mailbox = directory.path().join("box");
        let file = File::create(&mailbox).unwrap();
        let script = "test -e /proc/self/fd/$1 || exit 1; : > $2.lock; printf +; read x; rm $2.lock";
        let program = program(directory.path(), script);
        let helper =
            Helper::start_program(&program, &mailbox, &file, Duration::from_secs(10)).expect("locks");
        assert!(directory.path().join("box.lock").exists());
        drop(helper);
        assert!(!directory.path().join("box.lock").exists());
    }

    #[test]
    fn a_program_that_fails_gives_no_lock() {
        let directory = tempfile::tempdir().unwrap();
        let mailbox = directory.path().join("box");
        let file = File::create(&mailbox).unwrap();
        let program = program(directory.path(), "printf -- -");
        assert!(Helper::start_program(&program, &mailbox, &file, Duration::from_secs(10)).is_none());
    }
}
