//! RETR and TOP (RFC 1939 §5 and §7).

use crate::event::{Facility, Priority};
use crate::pop::session::Task;
use crate::pop::transmission::{Manner, Transmission};
use crate::pop3::Session;
use ailurus_proto::pop3::{Number, number, top_arguments};
use ailurus_store::Error;

impl Session {
    pub(super) fn retr(&mut self, argument: &[u8]) {
        let number = match number(argument) {
            Number::Missing => return self.answer("-ERR Missing message number argument"),
            Number::Is(number) => number,
        };
        let begun = self.size(number).and_then(|size| {
            let transmission = self.transmit(number, None)?;
            Ok((size, transmission))
        });
        match begun {
            Ok((size, transmission)) => {
                self.answer(&format!("+OK {size} octets"));
                if let Some(maildrop) = &mut self.maildrop {
                    maildrop.note_fetched(number);
                }
                self.touch(number);
                self.run(Task::Transmit(transmission));
            }
            Err(refusal) => self.answer(refusal),
        }
    }

    pub(super) fn top(&mut self, argument: &[u8]) {
        let (number, lines) = top_arguments(argument);
        let there = |number: &u32| self.maildrop.as_ref().is_some_and(|maildrop| maildrop.is_there(*number));
        let Some(number) = number.filter(there) else {
            return self.answer("-ERR Bad message number argument");
        };
        let Some(lines) = lines else { return self.answer("-ERR Bad line count argument") };
        match self.transmit(number, Some(lines)) {
            Ok(transmission) => {
                self.answer("+OK Top of message follows");
                self.touch(number);
                self.run(Task::Transmit(transmission));
            }
            Err(refusal) => self.answer(refusal),
        }
    }

    fn transmit(&mut self, number: u32, lines: Option<u32>) -> Result<Transmission, &'static str> {
        let maildrop = self.maildrop.as_mut().ok_or("-ERR No such message")?;
        match Transmission::begin(maildrop, number, Manner::Lines { most: lines }) {
            Ok(transmission) => Ok(transmission),
            Err(Error::Expunged { .. }) => {
                maildrop.note_gone(number);
                Err("-ERR No such message")
            }
            Err(error) => Err(self.disk_trouble(&error)),
        }
    }

    /// Logs why a message cannot be had, and returns what the client is told.
    pub(super) fn disk_trouble(&mut self, error: &Error) -> &'static str {
        let text = format!("{error} {}", self.base.who());
        self.base.log(Facility::Mail, Priority::Error, text);
        match error {
            Error::Damaged { .. } | Error::Lost { .. } => "-ERR [SYS/PERM] Message cannot be read",
            _ => "-ERR [SYS/TEMP] Message cannot be read",
        }
    }

    /// Takes note of the highest number that was asked for.
    pub(super) fn touch(&mut self, number: u32) {
        self.protocol.last = self.protocol.last.max(number);
    }
}
