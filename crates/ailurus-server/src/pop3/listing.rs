//! STAT, LIST, UIDL (RFC 1939 §5 and §7).

use crate::pop::maildrop::Maildrop;
use crate::pop::session::{Step, Task};
use crate::pop3::Session;
use ailurus_proto::imap::print;
use ailurus_proto::pop3::{Number, number};

/// All messages of the maildrop, one after the other.
pub(crate) struct Scan {
    what: What,
    next: u32,
    /// Messages, and their octets.
    count: u32,
    octets: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Stat,
    List,
    Uidl,
}

/// After so many messages others have their turn: each may have to be looked at.
const SLICE: u32 = 2000;

impl Session {
    pub(super) fn stat(&mut self) {
        self.scan(What::Stat);
    }

    pub(super) fn list(&mut self, argument: &[u8]) {
        match number(argument) {
            Number::Missing => {
                self.answer("+OK Mailbox scan listing follows");
                self.scan(What::List);
            }
            Number::Is(number) => {
                let size = self.size(number);
                self.answer(&match size {
                    Ok(size) => format!("+OK {number} {size}"),
                    Err(refusal) => refusal.into(),
                });
            }
        }
    }

    pub(super) fn uidl(&mut self, argument: &[u8]) {
        match number(argument) {
            Number::Missing => {
                self.answer("+OK Unique-ID listing follows");
                self.scan(What::Uidl);
            }
            Number::Is(number) => {
                let there = self.maildrop.as_ref().filter(|maildrop| maildrop.is_there(number));
                let id = there.and_then(|maildrop| maildrop.unique_id(number));
                self.answer(&match id {
                    Some(id) => format!("+OK {number} {id}"),
                    None => "-ERR No such message".into(),
                });
            }
        }
    }

    /// Returns the size of a message, or what is said of a number that has none.
    pub(super) fn size(&mut self, number: u32) -> Result<u64, &'static str> {
        let there = self.maildrop.as_mut().filter(|maildrop| maildrop.is_there(number));
        let size = there.ok_or("-ERR No such message")?.size(number);
        match size {
            Ok(size) => size.ok_or("-ERR No such message"),
            Err(error) => Err(self.disk_trouble(&error)),
        }
    }

    fn scan(&mut self, what: What) {
        self.run(Task::Scan(Scan { what, next: 1, count: 0, octets: 0 }));
    }
}

impl Scan {
    pub(crate) fn step(&mut self, maildrop: &mut Maildrop, out: &mut Vec<u8>, limit: usize) -> Step {
        for _ in 0..SLICE {
            if out.len() >= limit {
                return Step::Continue;
            }
            if self.next > maildrop.count() {
                self.end(out);
                return Step::Done;
            }
            self.message(maildrop, self.next, out);
            self.next += 1;
        }
        Step::Yield
    }

    fn message(&mut self, maildrop: &mut Maildrop, number: u32, out: &mut Vec<u8>) {
        if !maildrop.is_there(number) {
            return;
        }
        if self.what == What::Uidl {
            let Some(id) = maildrop.unique_id(number) else { return };
            print::number(out, number.into());
            out.push(b' ');
            out.extend_from_slice(id.as_bytes());
            out.extend_from_slice(b"\r\n");
            return;
        }
        // A message that cannot be looked at is there all the same; RETR tells what is the matter with it.
        let Some(size) = maildrop.size(number).unwrap_or(Some(0)) else { return };
        self.count += 1;
        self.octets += size;
        if self.what == What::List {
            print::number(out, number.into());
            out.push(b' ');
            print::number(out, size);
            out.extend_from_slice(b"\r\n");
        }
    }

    fn end(&self, out: &mut Vec<u8>) {
        match self.what {
            What::Stat => out.extend_from_slice(format!("+OK {} {}\r\n", self.count, self.octets).as_bytes()),
            What::List | What::Uidl => out.extend_from_slice(b".\r\n"),
        }
    }
}
