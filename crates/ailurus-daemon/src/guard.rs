//! What sessions and the server that started them tell each other until somebody has logged in: the session tells of wrong
//! passwords and asks whether a user may have one more session; the server answers.
//!
//! The line is a pair of sockets that keep messages apart. The session has its end as standard output (it writes to the client
//! through its standard input, which is the same socket) and lets go of it at the login: nothing that runs with a user's rights
//! can tell the server anything.
//!
//! Wrong passwords are remembered by address ([`Failures`]). Twenty are free; they are forgotten by half in ten minutes. Beyond
//! them new connections from that address are let in one at a time, at first a second apart, and half a minute at last. It is
//! the connection that waits and not the answer to a wrong password, for who guesses does not stay to hear that.

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// The server's end.
#[derive(Debug)]
pub(crate) struct Line(OwnedFd);

/// What a session says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Heard {
    /// Nothing now.
    Silence,
    /// Somebody gave a wrong password.
    Failure,
    /// The user with this id has given the right one.
    Asks(u32),
    /// It has nothing more to say.
    Gone,
}

const FAILURE: u8 = b'F';
const ASKS: u8 = b'U';
const YES: u8 = b'Y';
const NO: u8 = b'N';

impl Line {
    /// Makes a line; the other end is for the session.
    pub(crate) fn new() -> io::Result<(Self, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        Ok((Self(ours), theirs))
    }

    /// Takes the next message, without waiting.
    pub(crate) fn hear(&self) -> Heard {
        let mut message = [0; 5];
        match rustix::net::recv(&self.0, &mut message[..], RecvFlags::DONTWAIT) {
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Heard::Silence,
            Ok((1, _)) if message[0] == FAILURE => Heard::Failure,
            Ok((5, _)) if message[0] == ASKS => {
                let [_, id @ ..] = message;
                Heard::Asks(u32::from_ne_bytes(id))
            }
            Ok(_) | Err(_) => Heard::Gone,
        }
    }

    /// Answers a question.
    pub(crate) fn answer(&self, allowed: bool) {
        let message = [if allowed { YES } else { NO }];
        rustix::net::send(&self.0, &message, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).ok();
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The session's end.
#[derive(Debug)]
pub struct Sentry(OwnedFd);

/// A server that does not answer for so long is one that ends.
const PATIENCE: Duration = Duration::from_secs(5);

impl Sentry {
    /// Takes it from standard output, if that is one, and puts nothing in its place.
    pub(crate) fn of_stdout() -> Option<Self> {
        let stdout = io::stdout();
        if rustix::net::sockopt::socket_type(&stdout) != Ok(SocketType::SEQPACKET) {
            return None;
        }
        let line = rustix::io::fcntl_dupfd_cloexec(&stdout, 3).ok()?;
        let nothing = std::fs::File::options().write(true).open("/dev/null").ok()?;
        rustix::stdio::dup2_stdout(&nothing).ok()?;
        rustix::net::sockopt::set_socket_timeout(&line, rustix::net::sockopt::Timeout::Recv, Some(PATIENCE))
            .ok()?;
        Some(Self(line))
    }

    /// Tells of a wrong password.
    pub(crate) fn failed(&self) {
        rustix::net::send(&self.0, &[FAILURE], SendFlags::DONTWAIT | SendFlags::NOSIGNAL).ok();
    }

    /// Asks whether a user may have one more session.
    pub(crate) fn may_enter(&self, uid: u32) -> bool {
        let [a, b, c, d] = uid.to_ne_bytes();
        let mut answer = [YES];
        let asked = rustix::net::send(&self.0, &[ASKS, a, b, c, d], SendFlags::NOSIGNAL);
        if asked.is_ok() {
            rustix::net::recv(&self.0, &mut answer[..], RecvFlags::empty()).ok();
        }
        answer[0] != NO
    }
}

/// The wrong passwords of late, by address.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    table: HashMap<IpAddr, Record>,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    /// How many there were at that time, of which half is forgotten every [`HALF_LIFE`].
    score: f64,
    at: Instant,
    /// Before then nobody else from there is let in.
    next: Option<Instant>,
}

/// So many are anybody's mistakes: an office behind one address, a telephone with an old password.
const FREE: f64 = 20.0;
const HALF_LIFE: Duration = Duration::from_secs(600);
/// With so many more, the time between two connections doubles.
const DOUBLING: f64 = 10.0;
const LONGEST: f64 = 30.0;
/// More addresses are not remembered.
const MOST_ADDRESSES: usize = 16_384;

impl Record {
    fn score(&self, now: Instant) -> f64 {
        let halvings = now.saturating_duration_since(self.at).as_secs_f64() / HALF_LIFE.as_secs_f64();
        self.score * (-halvings).exp2()
    }
}

impl Failures {
    /// Takes note of a wrong password.
    pub(crate) fn note(&mut self, address: IpAddr, now: Instant) {
        if self.table.len() >= MOST_ADDRESSES && !self.table.contains_key(&address) {
            self.make_room(now);
        }
        let record = self.table.entry(address).or_insert(Record { score: 0.0, at: now, next: None });
        record.score = record.score(now) + 1.0;
        record.at = now;
    }

    /// Takes note that somebody is let in, and settles when the next one is.
    pub(crate) fn let_in(&mut self, address: IpAddr, now: Instant) {
        if let Some(record) = self.table.get_mut(&address) {
            let beyond = record.score(now) - FREE;
            let apart = (beyond / DOUBLING).exp2().min(LONGEST);
            record.next = (beyond > 0.0).then(|| now + Duration::from_secs_f64(apart));
        }
    }

    /// Returns until when nobody from an address is let in, if that is not over.
    pub(crate) fn until(&self, address: IpAddr, now: Instant) -> Option<Instant> {
        self.table.get(&address)?.next.filter(|next| *next > now)
    }

    /// Forgets those that are as good as forgotten, or else the least.
    fn make_room(&mut self, now: Instant) {
        self.table.retain(|_, record| record.score(now) >= 0.5);
        if self.table.len() >= MOST_ADDRESSES {
            let least = self.table.iter().min_by(|a, b| a.1.score(now).total_cmp(&b.1.score(now)));
            if let Some(address) = least.map(|(address, _)| *address) {
                self.table.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u32) -> IpAddr {
        std::net::Ipv4Addr::from(0xc000_0200 + last).into()
    }

    /// As fast as connections are let in, each with three attempts.
    #[test]
    fn ten_thousand_wrong_passwords_slow_one_address_down() {
        let (mut failures, start) = (Failures::default(), Instant::now());
        let mut now = start;
        for tried in 0..10_000_u32 {
            if tried % 3 == 0 {
                now = failures.until(address(1), now).unwrap_or(now);
                failures.let_in(address(1), now);
            }
            failures.note(address(1), now);
            assert_eq!(failures.until(address(2), now), None, "nobody else");
        }
        let took = now.saturating_duration_since(start).as_secs();
        assert!(took > 24 * 3600, "{took} seconds");
        assert!(failures.until(address(1), now + Duration::from_secs(31)).is_none(), "half a minute at most");
        // Two hours later it is as if nothing had been.
        let later = now + Duration::from_secs(7200);
        failures.let_in(address(1), later);
        assert_eq!(failures.until(address(1), later), None);
    }

    #[test]
    fn a_mistake_now_and_then_costs_nothing() {
        let (mut failures, mut now) = (Failures::default(), Instant::now());
        for _ in 0..1000 {
            now += Duration::from_secs(60);
            failures.let_in(address(1), now);
            assert_eq!(failures.until(address(1), now), None);
            failures.note(address(1), now);
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        for _ in 0..40 {
            failures.note(address(0), now);
        }
        for last in 1..u32::try_from(MOST_ADDRESSES).expect("small") + 50 {
            failures.note(address(last), now);
        }
        assert_eq!(failures.table.len(), MOST_ADDRESSES);
        failures.let_in(address(0), now);
        assert!(failures.until(address(0), now).is_some(), "the worst is not forgotten");
    }

    #[test]
    fn a_line_carries_both_ways() {
        let (line, theirs) = Line::new().expect("a pair");
        let sentry = Sentry(theirs);
        assert_eq!(line.hear(), Heard::Silence);
        sentry.failed();
        sentry.failed();
        assert_eq!([line.hear(), line.hear(), line.hear()], [Heard::Failure, Heard::Failure, Heard::Silence]);
        for allowed in [false, true] {
            line.answer(allowed);
            assert_eq!(sentry.may_enter(1000), allowed);
            assert_eq!(line.hear(), Heard::Asks(1000));
        }
        drop(sentry);
        assert_eq!(line.hear(), Heard::Gone);
        let (line, theirs) = Line::new().expect("a pair");
        drop(line);
        assert!(Sentry(theirs).may_enter(1000), "a server that ends keeps nobody out");
    }
}
