//! DELE, RSET, LAST, QUIT (RFC 1939 §5 and §6): what is noted, and the one moment at which it is done.

use crate::event::{Facility, Priority};
use crate::pop3::Session;
use ailurus_proto::pop3::{Number, number};

impl Session {
    pub(super) fn dele(&mut self, argument: &[u8]) {
        let number = match number(argument) {
            Number::Missing => return self.answer("-ERR Missing message number argument"),
            Number::Is(number) => number,
        };
        match self.maildrop.as_mut().filter(|maildrop| maildrop.is_there(number)) {
            Some(maildrop) => {
                maildrop.note_deleted(number);
                self.touch(number);
                self.answer("+OK Message deleted");
            }
            None => self.answer("-ERR No such message"),
        }
    }

    pub(super) fn rset(&mut self) {
        if let Some(maildrop) = &mut self.maildrop {
            maildrop.reset();
            self.protocol.last = maildrop.last_seen();
        }
        self.answer("+OK Reset state");
    }

    pub(super) fn last(&mut self) {
        let text = format!("+OK {}", self.protocol.last);
        self.answer(&text);
    }

    /// QUIT. The client is told that all is well when it is: on the disk.
    pub(super) fn quit(&mut self) {
        let mut answer = "+OK Sayonara";
        if let Some((updated, result)) = self.update() {
            match result {
                Ok(()) => {
                    let text = format!(
                        "Update {} nmsgs={} ndele={} nseen={}",
                        self.base.who(),
                        updated.left,
                        updated.deleted,
                        updated.fetched
                    );
                    self.base.log(Facility::Mail, Priority::Info, text);
                }
                // RFC 1939 §6. The reference says that all is well.
                Err(()) => answer = "-ERR [SYS/TEMP] Mailbox not updated, deleted messages not removed",
            }
        }
        self.answer(answer);
        self.end("Logout", 0);
    }
}
