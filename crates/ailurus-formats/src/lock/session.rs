//! The lock of a read-write session, and asking another session for it (spec/storage-common.md §6.2).

use super::{Mode, NameLock, NameLockError, Wait};
use crate::disk::Disk;
use ailurus_store::{Environment, Level, Manner};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

/// Proof that this is the one session that may change a unix or mmdf mailbox.
#[derive(Debug)]
pub struct SessionLock {
    // Held for its drop alone.
    _lock: NameLock,
}

impl SessionLock {
    /// Takes the session lock of the mailbox that is open as `mailbox`.
    ///
    /// A session asks the holder for it with SIGUSR2 (the kiss of death), tries `kiss_tries` times, once a second,
    /// and leaves its own PID for the next one. A silent one tries once, and cannot be asked. `None`: another has
    /// it, or there can be no lock; the user of a session was told.
    pub fn acquire(disk: &Arc<dyn Disk>, env: &Environment, mailbox: &File, manner: Manner) -> Option<Self> {
        let tries = if manner == Manner::Silent { 1 } else { env.kiss_tries.max(1) };
        for attempt in 0..tries {
            match NameLock::acquire(disk, env, mailbox, Mode::Exclusive, Wait::No) {
                Ok(lock) => return Some(Self::begin(lock, env, manner)),
                Err(NameLockError::Unavailable(_)) => break,
                Err(NameLockError::Held { pid }) => {
                    let asked = manner == Manner::Session && (attempt > 0 || ask(env, pid));
                    if !asked {
                        break;
                    }
                    if attempt + 1 < tries {
                        std::thread::sleep(Duration::from_secs(1));
                    }
                }
            }
        }
        if manner == Manner::Session {
            env.notices.tell(Level::Warning, "Mailbox is open by another process, access is readonly");
        }
        None
    }

    fn begin(lock: NameLock, env: &Environment, manner: Manner) -> Self {
        let content = match manner {
            Manner::Session => std::process::id().to_string(),
            // Also wipes what a dead session left, lest its PID, now another's, be asked for the lock.
            Manner::Silent => String::new(),
        };
        if let Err(error) = lock.set_content(content.as_bytes()) {
            // The lock holds all the same; others only cannot ask for it.
            env.notices.tell(Level::Log, format!("cannot write {}: {error}", lock.path().display()));
        }
        Self { _lock: lock }
    }
}

/// Sends the kiss of death. False when nobody was there to get it.
fn ask(env: &Environment, pid: Option<u32>) -> bool {
    // Another session of this very process cannot answer while we wait here.
    let other = pid.filter(|pid| *pid != std::process::id());
    let Some(target) = other.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw) else {
        return false;
    };
    if kill_process(target, Signal::USR2).is_err() {
        return false;
    }
    let number = target.as_raw_nonzero();
    env.notices.tell(Level::Warning, format!("Trying to get mailbox lock from process {number}"));
    true
}

#[cfg(test)]
mod tests {
    use super::super::scratch;
    use super::*;
    use crate::disk::Os;
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    fn lock_file_of(env: &Environment) -> std::path::PathBuf {
        std::fs::read_dir(&env.lock_dir).unwrap().next().unwrap().unwrap().path()
    }

    #[test]
    fn a_session_leaves_its_pid_and_a_silent_one_nothing() {
        let (_directory, env, mailbox) = scratch();
        let lock = SessionLock::acquire(&Os::shared(), &env, &mailbox, Manner::Session).unwrap();
        let pid = std::process::id().to_string();
        assert_eq!(std::fs::read_to_string(lock_file_of(&env)).unwrap(), pid);
        // A second one of the same process is refused at once, without a signal to ourselves.
        assert!(SessionLock::acquire(&Os::shared(), &env, &mailbox, Manner::Session).is_none());
        drop(lock);
        let silent = SessionLock::acquire(&Os::shared(), &env, &mailbox, Manner::Silent).unwrap();
        assert_eq!(std::fs::read_to_string(lock_file_of(&env)).unwrap(), "");
        drop(silent);
    }

    #[test]
    fn the_kiss_of_death_makes_another_process_let_go() {
        let (_directory, env, mailbox) = scratch();
        let lock = SessionLock::acquire(&Os::shared(), &env, &mailbox, Manner::Silent).unwrap();
        let path = lock_file_of(&env);
        drop(lock);
        std::fs::write(&path, "").unwrap();
        let script = "flock -x 9; echo $$ >&9; echo ready; trap 'exit 0' USR2; while :; do sleep 0.1; done";
        let mut holder = Command::new("sh")
            .arg("-c")
            .arg(format!("exec 9<>{}; {script}", path.display()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(holder.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        assert!(SessionLock::acquire(&Os::shared(), &env, &mailbox, Manner::Silent).is_none());
        let lock = SessionLock::acquire(&Os::shared(), &env, &mailbox, Manner::Session);
        holder.wait().unwrap();
        assert!(lock.is_some());
        let told = env.notices.take();
        assert!(told.iter().any(|notice| notice.text.starts_with("Trying to get mailbox lock from process")));
    }
}
