//! The POP3 session engine (RFC 1939, 2449, 2595, 3206, 5034).
//!
//! [`Session`] is told what happened (`handle_…`) and asked what it wants (`poll_…`), as [`crate::imap::Session`] is. How a
//! maildrop is numbered, sent and updated it has in common with POP2.
//!
//! # Where the reference is left on purpose
//!
//! * DELE and RETR mark and expunge the messages that were meant, by UID, and no others: the reference takes POP's numbers for
//!   the mailbox's, and expunges what others had marked `\Deleted` too.
//! * QUIT answers `-ERR` when nothing could be written.
//! * Failures carry the codes of RFC 2449 and 3206 (`[IN-USE]`, `[AUTH]`, `[SYS/TEMP]`, `[SYS/PERM]`); the texts behind them are
//!   the reference's.
//! * CAPA lists what works: no LOGIN-DELAY, which nobody enforces; RESP-CODES, AUTH-RESP-CODE, PIPELINING, EXPIRE and
//!   IMPLEMENTATION are new. Not UTF8: RFC 6856 §2.1 would have us withhold messages with raw UTF-8 in their headers from clients
//!   that do not ask for it, and all of mail that is there is sent as it is.
//! * A line that is too long is one error; its rest is no command.
//! * Sizes are those of what is sent, whatever a message lacks: see `transmission.rs`.
//! * After three failed logins the connection is closed.
//! * The gateway to IMAP (`host:user`) is refused like a wrong password.

mod authorization;
mod listing;
mod retrieval;
mod update;

use crate::config::Config;
use crate::event::{Facility, How, Priority};
use crate::login::APOP;
use crate::pop;
use crate::pop::login::Guest;
use crate::pop::maildrop::{Maildrop, Unusable};
use crate::pop::session::Protocol;
use ailurus_proto::pop3::{Command, MAX_LINE, MAX_SASL_LINE};
pub(crate) use listing::Scan;
use std::time::{Duration, Instant};

/// A POP3 session.
pub type Session = pop::Session<Pop3>;

/// What POP3 has beside what all POP has.
#[derive(Debug, Default)]
pub struct Pop3 {
    /// The argument of USER.
    user: Option<Vec<u8>>,
    /// The timestamp of the greeting, where there is a database for APOP.
    timestamp: Option<String>,
    /// What LAST says.
    last: u32,
}

impl Session {
    /// Begins a session and queues its greeting.
    #[must_use]
    pub fn new(config: Config, now: Instant) -> Self {
        let timestamp = config.cram_md5.as_ref().map(|_| {
            // Half of the nonce: from the other one the challenges of CRAM-MD5 are made.
            ailurus_auth::apop::challenge(config.nonce.rotate_left(32), 0, &config.host)
        });
        Self::begin(config, Pop3 { timestamp, ..Pop3::default() }, now)
    }

    fn authorization(&mut self, command: Command<'_>) {
        match command {
            Command::Null => self.answer("-ERR Null command"),
            Command::Capa => self.capa(),
            Command::Quit => self.quit(),
            Command::User(name) if !self.base.config.plaintext_disabled() => self.user(name),
            Command::Pass(password) if !self.base.config.plaintext_disabled() => self.pass(password),
            Command::Auth(argument) => self.auth(argument),
            Command::Apop(argument) => self.apop(argument),
            Command::Stls => self.stls(),
            Command::Rpop => self.answer("-ERR Nice try, bunkie"),
            _ => self.answer("-ERR Unknown AUTHORIZATION state command"),
        }
    }

    fn transaction(&mut self, command: Command<'_>) {
        match command {
            Command::Null => self.answer("-ERR Null command"),
            Command::Capa => self.capa(),
            Command::Quit => self.quit(),
            Command::Stat => self.stat(),
            Command::List(argument) => self.list(argument),
            Command::Uidl(argument) => self.uidl(argument),
            Command::Retr(argument) => self.retr(argument),
            Command::Top(argument) => self.top(argument),
            Command::Dele(argument) => self.dele(argument),
            Command::Rset => self.rset(),
            Command::Last => self.last(),
            Command::Noop => self.answer("+OK No-op to you too!"),
            Command::Xtnd => self.answer("-ERR Sorry I can't do that"),
            _ => self.answer("-ERR Unknown TRANSACTION state command"),
        }
    }
}

impl Protocol for Pop3 {
    const MAX_LINE: usize = MAX_LINE;
    const MAX_SASL_LINE: usize = MAX_SASL_LINE;
    const IDLE: Duration = Duration::from_secs(600);
    const AUTOLOGOUT: &'static str = "-ERR Autologout; idle for too long";
    const LOGIN_OVER: &'static str = "-ERR Autologout";
    const KISSED: &'static str = "-ERR Received Kiss of Death";
    const TERMINATED: (&'static str, &'static str) = ("-ERR Killed", "Killed");

    /// The text begins with `POP3` for clients that look for it.
    fn greet(session: &mut Session) {
        let Config { host, product, .. } = &session.base.config;
        let text = match &session.protocol.timestamp {
            Some(timestamp) => format!("+OK POP3 {product} server ready {timestamp}"),
            None => format!("+OK POP3 {host} {product} server ready"),
        };
        session.answer(&text);
    }

    fn command(session: &mut Session, line: &[u8]) {
        let command = Command::parse(line);
        if session.maildrop.is_some() { session.transaction(command) } else { session.authorization(command) }
    }

    fn line_too_long(session: &mut Session) {
        session.answer("-ERR Command line too long");
    }

    fn exchange_failed(session: &mut Session) {
        session.answer("-ERR Bad authentication");
    }

    fn login_failed(session: &mut Session, how: How) {
        session.answer(match how {
            How::Login => "-ERR [AUTH] Bad login",
            APOP => "-ERR [AUTH] Bad APOP",
            How::Authenticate(_) => "-ERR [AUTH] Bad authentication",
        });
    }

    // Without the code, or with [AUTH], clients would ask their users for another password.
    fn too_many_sessions(session: &mut Session) {
        session.answer("-ERR [IN-USE] Too many sessions of this user");
    }

    fn entered(session: &mut Session, guest: &Guest, maildrop: Maildrop) {
        let (shown, total) = (maildrop.count(), maildrop.total());
        session.protocol.last = maildrop.last_seen();
        session.protocol.user = None;
        session.maildrop = Some(Box::new(maildrop));
        session.log_guest(guest, &format!(" nmsgs={shown}/{total}"));
        session.answer(&format!("+OK Mailbox open, {shown} messages"));
    }

    fn left_outside(session: &mut Session, guest: &Guest, why: &Unusable, in_use: bool) {
        let text = format!("Error opening or locking INBOX {}", session.base.who());
        session.base.log(Facility::Mail, Priority::Info, text);
        session.log_guest(guest, " no mailbox");
        session.answer(match why {
            Unusable::ReadOnly if in_use => "-ERR [IN-USE] Can't get lock.  Mailbox in use",
            Unusable::ReadOnly => "-ERR [SYS/PERM] Can't get lock.  Mailbox in use",
            Unusable::Failed(ailurus_store::Error::InUse { .. }) => {
                "-ERR [IN-USE] Can't get lock.  Mailbox in use"
            }
            Unusable::Failed(ailurus_store::Error::Io { .. }) => {
                "-ERR [SYS/TEMP] Unable to open user's INBOX"
            }
            Unusable::Failed(_) => "-ERR [SYS/PERM] Unable to open user's INBOX",
        });
    }
}
