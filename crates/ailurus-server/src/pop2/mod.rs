//! The POP2 session engine (RFC 937; spec/pop.md §8).
//!
//! ```text
//! AUTH --HELO--> MBOX --READ--> ITEM --RETR--> NEXT --ACKS, ACKD, NACK--> ITEM, or MBOX at the end
//!                 ^                |
//!                 +------FOLD------+
//! ```
//!
//! Whatever is no command of the state ends the session. Nothing is changed before FOLD or QUIT.
//!
//! # Where the reference is left on purpose
//!
//! * ACKD and ACKS are noted and done at FOLD or QUIT, by UID; only messages that were acknowledged are marked `\Seen` or expunged.
//!   (The reference marks what RETR reads, NACK or not, and expunges what others had deleted too.)
//! * FOLD after ACKD works: the reference takes its own expunge for another's and ends with a lock left behind. Numbers begin at 1
//!   in the new mailbox, and a mailbox that can only be read is not opened.
//! * READ of a message that was acknowledged with ACKD says `=0`, which no RETR may follow. (The reference says 2 and then ends.)
//! * `- Command line too long` is sent, not logged.
//! * Log lines are of facility mail, with the process number, and say `user=???` before login.

use crate::config::{Config, TlsChannel};
use crate::event::{Facility, How, Priority};
use crate::pop;
use crate::pop::login::Guest;
use crate::pop::maildrop::{Maildrop, Unusable};
use crate::pop::session::{Protocol, Task};
use crate::pop::transmission::{Manner, Transmission};
use ailurus_proto::pop2::{Command, MAX_LINE, helo_arguments, read_argument};
use ailurus_types::MailboxName;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// A POP2 session.
pub type Session = pop::Session<Pop2>;

/// What POP2 has beside what all POP has.
#[derive(Debug)]
pub struct Pop2 {
    state: State,
    /// The message that READ without a number means.
    current: u32,
}

/// The states of RFC 937 after AUTH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Mbox,
    Item,
    Next,
}

/// How a message was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Acknowledgement {
    Keep,
    Delete,
    Again,
}

impl Session {
    /// Begins a session and queues its greeting.
    #[must_use]
    pub fn new(config: Config, now: Instant) -> Self {
        Self::begin(config, Pop2 { state: State::Mbox, current: 1 }, now)
    }

    /// Takes note that the connection is encrypted now; POP2 never asks for that.
    pub fn handle_tls_started(&mut self, _: TlsChannel, now: Instant) {
        self.now = now;
    }

    /// Answers a command that cannot be obeyed, and ends the session.
    fn refuse(&mut self, text: &str) {
        self.answer(text);
        self.answer("+ Sayonara");
        self.end("Logout", 0);
    }

    fn out_of_sequence(&mut self, text: &str) {
        self.answer(text);
        self.end("Logout", 0);
    }

    fn helo(&mut self, argument: &[u8]) {
        match helo_arguments(argument) {
            Some((user, password)) => {
                let password = Zeroizing::new(password);
                self.log_in(user, ailurus_auth::secret(&password));
            }
            None => self.refuse("- Missing user or password"),
        }
    }

    fn fold(&mut self, argument: &[u8]) {
        let name = argument.trim_ascii();
        if name.is_empty() {
            return self.refuse("- Missing mailbox name");
        }
        if self.write_notes().is_err() {
            return;
        }
        (self.protocol.state, self.protocol.current) = (State::Mbox, 1);
        let opened = self
            .mailboxes
            .as_ref()
            .and_then(|mailboxes| Maildrop::open(mailboxes, &MailboxName::new(name)).ok());
        self.take_notices();
        let shown = ailurus_proto::imap::print::echo(name);
        let text = match &opened {
            Some(maildrop) => format!("#{} messages in {shown}", maildrop.count()),
            None => "#0 messages in <none>".to_owned(),
        };
        self.maildrop = opened.map(Box::new);
        self.answer(&text);
    }

    /// Does what was acknowledged; an error has been told.
    fn write_notes(&mut self) -> Result<(), ()> {
        match self.update() {
            Some((_, Err(()))) => {
                self.refuse("- Mailbox not updated, deleted messages not removed");
                Err(())
            }
            _ => Ok(()),
        }
    }

    fn read(&mut self, argument: &[u8]) {
        let count = self.maildrop.as_ref().map_or(0, |maildrop| maildrop.count());
        match read_argument(argument) {
            Ok(None) => {}
            Ok(Some(number)) if (1..=count).contains(&number) => self.protocol.current = number,
            _ => return self.refuse("- Invalid message number given to READ"),
        }
        self.tell_size();
    }

    /// Tells the size of the current message.
    fn tell_size(&mut self) {
        let number = self.protocol.current;
        let count = self.maildrop.as_ref().map_or(0, |maildrop| maildrop.count());
        if number > count {
            self.protocol.state = State::Mbox;
            return self.answer("=0 No more messages");
        }
        let there = self.maildrop.as_mut().filter(|maildrop| maildrop.is_there(number));
        let size = there.and_then(|maildrop| maildrop.size(number).ok().flatten());
        match size {
            Some(size) => {
                self.protocol.state = State::Item;
                // One more CRLF is sent behind the message.
                self.answer(&format!("={} characters in message {number}", size + 2));
            }
            None => {
                self.protocol.state = State::Mbox;
                self.answer(&format!("=0 characters in message {number}"));
            }
        }
    }

    fn retr(&mut self) {
        let number = self.protocol.current;
        let begun = self.maildrop.as_mut().map(|maildrop| {
            // Its size was told, and no more and no less may follow.
            Transmission::begin(maildrop, number, Manner::Counted)
        });
        match begun {
            Some(Ok(transmission)) => {
                self.protocol.state = State::Next;
                self.run(Task::Transmit(transmission));
            }
            Some(Err(error)) => {
                let text = format!("{error} {}", self.base.who());
                self.base.log(Facility::Mail, Priority::Error, text);
                self.end("Session ended within a response", 1);
            }
            None => self.out_of_sequence("- Bogus or out of sequence command"),
        }
    }

    fn acknowledge(&mut self, how: Acknowledgement) {
        let number = self.protocol.current;
        if let Some(maildrop) = &mut self.maildrop {
            match how {
                Acknowledgement::Keep => maildrop.note_fetched(number),
                Acknowledgement::Delete => {
                    maildrop.note_fetched(number);
                    maildrop.note_deleted(number);
                }
                Acknowledgement::Again => {}
            }
        }
        if how != Acknowledgement::Again {
            self.protocol.current += 1;
        }
        self.tell_size();
    }

    fn quit(&mut self) {
        if self.write_notes().is_ok() {
            self.answer("+ Sayonara");
            self.end("Logout", 0);
        }
    }

    /// Answers a command that takes no argument and has one.
    fn bogus(&mut self, name: &str) {
        self.refuse(&format!("- Bogus argument given to {name}"));
    }
}

impl Protocol for Pop2 {
    const MAX_LINE: usize = MAX_LINE;
    const MAX_SASL_LINE: usize = MAX_LINE;
    const IDLE: Duration = Duration::from_secs(1800);
    const AUTOLOGOUT: &'static str = "- Autologout; idle for too long";
    const LOGIN_OVER: &'static str = "- Autologout";
    const KISSED: &'static str = "- Killed (lost mailbox lock)";
    const TERMINATED: (&'static str, &'static str) = ("- Killed (terminated)", "Killed (terminated)");

    fn greet(session: &mut Session) {
        if session.base.config.plaintext_disabled() {
            session.answer("- POP2 server disabled on this system");
            return session.end("Logout", 1);
        }
        let Config { host, product, .. } = &session.base.config;
        let text = format!("+ POP2 {host} {product} server ready");
        session.answer(&text);
    }

    fn command(session: &mut Session, line: &[u8]) {
        let command = Command::parse(line);
        let has_mailboxes = session.mailboxes.is_some();
        let state = session.protocol.state;
        let bogus = |argument: &[u8]| !argument.trim_ascii().is_empty();
        match command {
            Command::Null => session.out_of_sequence("- Missing or null command"),
            Command::Quit(_) if has_mailboxes && state == State::Next => {
                session.out_of_sequence("- Bogus or out of sequence command");
            }
            Command::Quit(argument) if bogus(argument) => session.bogus("QUIT"),
            Command::Quit(_) => session.quit(),
            Command::Helo(argument) if !has_mailboxes => session.helo(argument),
            Command::Fold(argument) if has_mailboxes && state != State::Next => session.fold(argument),
            Command::Read(argument) if has_mailboxes && state != State::Next => session.read(argument),
            Command::Retr(argument) if has_mailboxes && state == State::Item => {
                if bogus(argument) {
                    session.bogus("RETR")
                } else {
                    session.retr()
                }
            }
            Command::Acks(argument) if has_mailboxes && state == State::Next => {
                if bogus(argument) {
                    session.bogus("ACKS")
                } else {
                    session.acknowledge(Acknowledgement::Keep)
                }
            }
            Command::Ackd(argument) if has_mailboxes && state == State::Next => {
                if bogus(argument) {
                    session.bogus("ACKD")
                } else {
                    session.acknowledge(Acknowledgement::Delete)
                }
            }
            Command::Nack(argument) if has_mailboxes && state == State::Next => {
                if bogus(argument) {
                    session.bogus("NACK")
                } else {
                    session.acknowledge(Acknowledgement::Again)
                }
            }
            _ => session.out_of_sequence("- Bogus or out of sequence command"),
        }
    }

    fn line_too_long(session: &mut Session) {
        session.out_of_sequence("- Command line too long");
    }

    fn exchange_failed(session: &mut Session) {
        session.refuse("- Bad login");
    }

    fn login_failed(session: &mut Session, _: How) {
        session.refuse("- Bad login");
    }

    fn too_many_sessions(session: &mut Session) {
        session.refuse("- Too many sessions of this user");
    }

    fn entered(session: &mut Session, guest: &Guest, maildrop: Maildrop) {
        session.log_guest(guest, "");
        let text = format!("#{} messages in {}", maildrop.count(), maildrop.mailbox.path().display());
        session.maildrop = Some(Box::new(maildrop));
        session.answer(&text);
    }

    fn left_outside(session: &mut Session, guest: &Guest, why: &Unusable, _: bool) {
        let text = format!("Error opening or locking INBOX {}", session.base.who());
        session.base.log(Facility::Mail, Priority::Info, text);
        session.log_guest(guest, "");
        session.answer(match why {
            Unusable::ReadOnly | Unusable::Failed(ailurus_store::Error::InUse { .. }) => {
                "- Can't get lock.  Mailbox in use"
            }
            Unusable::Failed(_) => "- Unable to open user's INBOX",
        });
        session.answer("+ Sayonara");
    }
}
