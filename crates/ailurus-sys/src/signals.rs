//! Signals as values: a handler notes them in an atomic and wakes a pipe, and the program acts at a safe point.
//!
//! Handlers are installed with SA_RESTART: only poll(2) and its kin are interrupted, so a program waits with poll on the
//! pipe and its connection. An operation that takes long may ask [`pending`] now and then, which costs a load.
//!
//! Programs started from here begin without handlers, as execve(2) says.

use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use libc::c_int;
use rustix::pipe::PipeFlags;

use crate::error::{Error, Result};

/// A signal that a program may care about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: end, without cleaning up mailboxes.
    Terminate,
    /// SIGHUP: the peer is gone; for a standing server, read the configuration anew.
    Hangup,
    /// SIGINT: somebody at the terminal wants to end it.
    Interrupt,
    /// SIGUSR1: write the status file.
    User1,
    /// SIGUSR2: the kiss of death, another session wants the mailbox.
    User2,
    /// SIGCHLD: a child process has ended.
    Child,
}

/// A set of signals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pending(u32);

impl Pending {
    /// Returns whether the set has that signal.
    pub fn contains(self, signal: Signal) -> bool {
        self.0 & signal.bit() != 0
    }

    /// Returns whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// The end of the pipe that signals wake. There is one for the process, for ever.
#[derive(Debug)]
pub struct SignalPipe {
    reader: OwnedFd,
}

impl SignalPipe {
    /// Begins to note these signals, besides those of earlier calls. Where the parent process has left them blocked, they
    /// are unblocked for the calling thread.
    ///
    /// # Errors
    ///
    /// If there is no descriptor left for the pipe.
    pub fn install(signals: &[Signal]) -> Result<&'static Self> {
        let pipe = Self::the_one()?;
        for &signal in signals {
            set_action(signal.number(), note as extern "C" fn(c_int) as libc::sighandler_t)?;
        }
        unblock(signals)?;
        Ok(pipe)
    }

    /// Returns the signals that have come since the last call, and forgets them.
    pub fn take(&self) -> Pending {
        // First the pipe, then the set: a signal in between wakes the pipe again, and costs a vain look at worst.
        let mut buffer = [0; 64];
        while rustix::io::read(&self.reader, &mut buffer).is_ok_and(|count| count == buffer.len()) {}
        Pending(PENDING.swap(0, Ordering::AcqRel))
    }

    fn the_one() -> Result<&'static Self> {
        static ONE: OnceLock<SignalPipe> = OnceLock::new();
        if let Some(pipe) = ONE.get() {
            return Ok(pipe);
        }
        let flags = PipeFlags::CLOEXEC | PipeFlags::NONBLOCK;
        let (reader, writer) =
            rustix::pipe::pipe_with(flags).map_err(Error::os("make a pipe for signals"))?;
        // Two threads may come here at once; the pipe of the later one is dropped, with both its ends.
        let mut writer = Some(writer);
        let pipe = ONE.get_or_init(|| {
            let writer = writer.take().expect("taken once");
            // Given away: a handler may use it until the process ends.
            WRITER.store(writer.into_raw_fd(), Ordering::Release);
            Self { reader }
        });
        Ok(pipe)
    }
}

impl AsFd for SignalPipe {
    /// Readable when there may be signals to [`take`](SignalPipe::take).
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

/// Returns the signals that have come and have not been taken. Does not take them.
pub fn pending() -> Pending {
    Pending(PENDING.load(Ordering::Acquire))
}

/// Makes writing to a closed connection fail with EPIPE instead of ending the process.
///
/// # Errors
///
/// None that is known.
pub fn ignore_sigpipe() -> Result<()> {
    set_action(libc::SIGPIPE, libc::SIG_IGN)
}

impl Signal {
    fn number(self) -> c_int {
        match self {
            Self::Terminate => libc::SIGTERM,
            Self::Hangup => libc::SIGHUP,
            Self::Interrupt => libc::SIGINT,
            Self::User1 => libc::SIGUSR1,
            Self::User2 => libc::SIGUSR2,
            Self::Child => libc::SIGCHLD,
        }
    }

    fn bit(self) -> u32 {
        bit(self.number())
    }
}

static PENDING: AtomicU32 = AtomicU32::new(0);
static WRITER: AtomicI32 = AtomicI32::new(-1);

/// All signals above have numbers below 32.
fn bit(number: c_int) -> u32 {
    1_u32.wrapping_shl(number.cast_unsigned())
}

/// The handler. It may run between any two instructions: atomics and write(2) only, and errno as it was.
extern "C" fn note(number: c_int) {
    PENDING.fetch_or(bit(number), Ordering::AcqRel);
    let writer = WRITER.load(Ordering::Acquire);
    // SAFETY: write(2) is async-signal-safe, and the octet is there. The descriptor is the pipe's for ever; if it is full
    // the write fails, and the pipe is readable anyway. errno belongs to this thread.
    unsafe {
        let errno = errno_location();
        let saved = *errno;
        libc::write(writer, ptr::from_ref(&0_u8).cast(), 1);
        *errno = saved;
    }
}

#[cfg(target_os = "linux")]
unsafe fn errno_location() -> *mut c_int {
    // SAFETY: takes nothing and always returns this thread's errno.
    unsafe { libc::__errno_location() }
}

#[cfg(not(target_os = "linux"))]
unsafe fn errno_location() -> *mut c_int {
    // SAFETY: takes nothing and always returns this thread's errno.
    unsafe { libc::__error() }
}

fn set_action(number: c_int, handler: libc::sighandler_t) -> Result<()> {
    // SAFETY: a sigaction of zeros is a value of the type: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the action is initialised; the handler is SIG_IGN or `note`, which is async-signal-safe.
    let result = unsafe { libc::sigaction(number, &raw const action, ptr::null_mut()) };
    if result == 0 { Ok(()) } else { Err(Error::last("set a signal handler")) }
}

fn unblock(signals: &[Signal]) -> Result<()> {
    // SAFETY: a sigset_t of zeros is a value of the type; sigemptyset and sigaddset take a live set and a real signal, the
    // mask is the calling thread's own.
    let result = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, signal.number());
        }
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(Error::number("unblock signals", result)) }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

    fn is_readable(pipe: &SignalPipe) -> bool {
        let mut fds = [PollFd::new(pipe, PollFlags::IN)];
        poll(&mut fds, Some(&rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 })).expect("poll works") == 1
    }

    fn raise(signal: Signal) {
        // SAFETY: raise takes a number; its handler is ours.
        assert_eq!(unsafe { libc::raise(signal.number()) }, 0);
    }

    // One test, since there is one pipe for the process.
    #[test]
    fn signals_are_noted_and_taken() {
        let pipe = SignalPipe::install(&[Signal::User1]).expect("a pipe");
        let pipe_again = SignalPipe::install(&[Signal::User2]).expect("the same pipe");
        assert!(ptr::eq(pipe, pipe_again));
        assert!(pipe.take().is_empty() && !is_readable(pipe));

        raise(Signal::User2);
        assert!(pending().contains(Signal::User2));
        assert!(is_readable(pipe));
        for _ in 0..100_000 {
            raise(Signal::User1);
        }
        let taken = pipe.take();
        assert!(
            taken.contains(Signal::User1) && taken.contains(Signal::User2) && !taken.contains(Signal::Hangup)
        );
        assert!(pipe.take().is_empty() && pending().is_empty() && !is_readable(pipe));
    }

    #[test]
    fn a_closed_pipe_is_an_error() {
        ignore_sigpipe().expect("can be ignored");
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        drop(reader);
        assert_eq!(rustix::io::write(&writer, b"x"), Err(rustix::io::Errno::PIPE));
    }
}
