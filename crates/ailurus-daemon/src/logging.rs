//! Where our log lines go.

use ailurus_sys::syslog::{Facility, Log, Priority};
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::path::Path;

/// Returns the log of a program: standard error when run by hand on a terminal or where there is no syslog, else
/// syslog. `AILURUS_LOG` (`stderr` or `syslog`) decides where that guess is wrong.
#[must_use]
pub fn open(ident: &str) -> Log {
    let wished = std::env::var("AILURUS_LOG");
    let to_stderr = match wished.as_deref() {
        Ok("stderr") => true,
        Ok("syslog") => false,
        _ if stderr_is_the_connection() => false,
        _ => std::io::stderr().is_terminal() || !Path::new("/dev/log").exists(),
    };
    if to_stderr { Log::stderr(ident) } else { Log::syslog(ident) }
}

/// Makes sure that nothing but the protocol reaches the peer: inetd gives the connection as standard error too.
pub fn close_stderr_on_connection() {
    if stderr_is_the_connection()
        && let Ok(null) = std::fs::File::options().read(true).write(true).open("/dev/null")
    {
        rustix::stdio::dup2_stderr(&null).ok();
    }
}

fn stderr_is_the_connection() -> bool {
    let identity = |fd: std::os::fd::BorrowedFd<'_>| rustix::fs::fstat(fd).map(|s| (s.st_dev, s.st_ino));
    let Ok(stderr) = identity(std::io::stderr().as_fd()) else { return true };
    let same = |other: rustix::io::Result<_>| other.is_ok_and(|other| other == stderr);
    let terminal = std::io::stderr().is_terminal();
    !terminal && (same(identity(std::io::stdin().as_fd())) || same(identity(std::io::stdout().as_fd())))
}

/// Logs what an administrator should see, not tied to a session.
pub(crate) fn server_line(log: &Log, priority: Priority, text: &str) {
    log.emit(Facility::Daemon, priority, text);
}
