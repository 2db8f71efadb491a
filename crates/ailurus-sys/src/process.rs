//! This process and others.

use rustix::fs::Mode;
use rustix::process::{Pid, Signal};

use crate::error::{Error, Result};

/// Sets the umask and returns the former one. It is the process's: other threads create files under it too.
pub fn set_umask(mask: u32) -> u32 {
    rustix::process::umask(Mode::from_bits_truncate(mask & 0o777)).bits()
}

/// Applies the start-up rule for the umask (spec/imapd.md §1): an inherited 0 becomes 022, any other is kept.
pub fn settle_umask() {
    let inherited = set_umask(0o022);
    if inherited != 0 {
        set_umask(inherited);
    }
}

/// Returns this process's id.
pub fn id() -> u32 {
    std::process::id()
}

/// Keeps all descriptors but the standard ones from programs that are started from here: also those that this process was
/// itself started with, of which it knows nothing.
pub fn keep_descriptors() {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<i32> = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        // SAFETY: fcntl takes any number; F_SETFD changes a flag of the descriptor, if it is still open.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

/// Raises the limit of open descriptors to a number, or as near to it as is allowed. It is 1024 where nobody has set it, which
/// is for programs that use select(2).
pub fn allow_descriptors(wanted: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = u64::try_from(wanted).unwrap_or(u64::MAX).min(limit.maximum.unwrap_or(u64::MAX));
    if limit.current.is_some_and(|current| current < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit }).ok();
    }
}

/// Asks another session to give up its mailbox (SIGUSR2, the kiss of death).
///
/// # Errors
///
/// If there is no such process, if it is not ours to signal, or if the number (read from a file that anybody can write)
/// is that of init, of ourselves, or of no process at all.
pub fn send_kiss_of_death(pid: u32) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).filter(|pid| !pid.is_init());
    let Some(pid) = pid.filter(|pid| *pid != rustix::process::getpid()) else {
        return Err(Error::Refused("not the process id of another session"));
    };
    rustix::process::kill_process(pid, Signal::USR2).map_err(Error::os("signal another session"))
}

/// Fills a buffer with random octets fit for keys.
///
/// # Errors
///
/// If the kernel has no source of them.
pub fn random_bytes(buffer: &mut [u8]) -> Result<()> {
    let mut rest = buffer;
    while !rest.is_empty() {
        let flags = rustix::rand::GetRandomFlags::empty();
        let got = rustix::io::retry_on_intr(|| rustix::rand::getrandom(&mut *rest, flags))
            .map_err(Error::os("get random octets"))?;
        rest = rest.split_at_mut(got).1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_octets_differ() {
        let (mut one, mut two) = ([0; 600], [0; 600]);
        random_bytes(&mut one).expect("a source");
        random_bytes(&mut two).expect("a source");
        assert_ne!(one, two);
        assert!(one.iter().any(|&octet| octet != 0));
        random_bytes(&mut []).expect("nothing to do");
    }

    #[test]
    fn descriptors_are_kept() {
        let (reader, _writer) = rustix::pipe::pipe().expect("a pipe");
        assert!(!rustix::io::fcntl_getfd(&reader).expect("open").contains(rustix::io::FdFlags::CLOEXEC));
        keep_descriptors();
        assert!(rustix::io::fcntl_getfd(&reader).expect("open").contains(rustix::io::FdFlags::CLOEXEC));
    }

    #[test]
    fn no_kiss_of_death_for_init_or_ourselves() {
        for pid in [0, 1, id(), u32::MAX, 1 << 31] {
            assert!(matches!(send_kiss_of_death(pid), Err(Error::Refused(_))), "{pid}");
        }
        assert!(matches!(send_kiss_of_death(i32::MAX.unsigned_abs()), Err(Error::Os { .. })));
    }
}
