//! A message on its way to the client: header, a line `Status: `, text.
//!
//! The line goes before the empty line that ends the header; behind the last line of a header that has none. The last line of
//! all ends with CRLF, stored or not. So a message is always its stored octets and 12 more, and two more if its last line has no
//! end: [`super::maildrop::Maildrop::size`] says so before anything is read. (The reference leaves the line out of headers of less
//! than four octets, adds two octets to headers without an end, and cuts the last two octets of a text without one.)

use crate::pop::maildrop::Maildrop;
use ailurus_proto::pop3::Stuffing;
use ailurus_store::{Error, Extent, Mailbox, Result};
use ailurus_types::Uid;
use memchr::{memchr_iter, memmem};

/// How a message is written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Manner {
    /// With dots doubled, up to a line of a dot; of the text only so many lines.
    Lines {
        /// The lines of the text; `None` for all of them.
        most: Option<u32>,
    },
    /// As it is, with one more CRLF at the end.
    Counted,
}

/// A message under way.
pub(crate) struct Transmission {
    uid: Uid,
    /// Octets of the message, as far as they were read.
    at: u64,
    /// How many there are.
    size: u64,
    status: [u8; 2],
    place: Place,
    /// What was read: in the header, with up to three octets that were kept back before it.
    piece: Vec<u8>,
    /// Lines of the text that are still to come.
    lines: Option<u32>,
    stuffing: Option<Stuffing>,
    /// The last two octets that were written.
    last: [u8; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// At the first octet, where an empty line is an empty header.
    Start,
    Header,
    Text,
    End,
}

/// How much is read at a time.
const PIECE: usize = 64 * 1024;
/// No less is read at a time, however little room is left.
const LEAST: usize = 4096;

impl Transmission {
    /// Begins to send a message. What can fail has failed before the client is told anything: the first piece is read.
    pub(crate) fn begin(maildrop: &mut Maildrop, number: u32, manner: Manner) -> Result<Self> {
        let uid = maildrop.uid(number).ok_or(Error::Expunged { uid: 0 })?;
        let info = maildrop.mailbox.snapshot().message(uid).ok_or(Error::Expunged { uid: uid.get() })?;
        let mut transmission = Self {
            uid,
            at: 0,
            size: info.rfc822_size().into(),
            status: maildrop.status(number),
            place: Place::Start,
            piece: Vec::new(),
            lines: match manner {
                Manner::Lines { most } => most,
                Manner::Counted => None,
            },
            stuffing: matches!(manner, Manner::Lines { .. }).then(Stuffing::default),
            last: *b"\r\n",
        };
        transmission.read(maildrop.mailbox.as_mut(), PIECE)?;
        Ok(transmission)
    }

    /// Appends more of the message until `limit` octets wait; `true` when that was all. An error is the end of the session: the
    /// client cannot be told.
    pub(crate) fn step(
        &mut self,
        mailbox: &mut dyn Mailbox,
        out: &mut Vec<u8>,
        limit: usize,
    ) -> Result<bool> {
        loop {
            self.write(out);
            if self.place == Place::End {
                return Ok(true);
            }
            if out.len() >= limit {
                return Ok(false);
            }
            let most = (limit - out.len()).clamp(LEAST, PIECE);
            if self.read(mailbox, most)? == 0 {
                self.end(out);
                return Ok(true);
            }
        }
    }

    /// Reads on. The end comes when the message has the size that it was said to have, not before.
    fn read(&mut self, mailbox: &mut dyn Mailbox, most: usize) -> Result<usize> {
        if self.at >= self.size {
            return Ok(0);
        }
        let left = usize::try_from(self.size - self.at).unwrap_or(usize::MAX);
        let before = self.piece.len();
        mailbox.read(self.uid, Extent::Whole, self.at, most.min(left), &mut self.piece)?;
        self.piece.truncate(before + left);
        let new = &mut self.piece[before..];
        clean(new);
        let read = new.len();
        if read == 0 {
            let what = format!("Message with UID {} is shorter than it was", self.uid);
            return Err(Error::Lost { path: mailbox.path().into(), what });
        }
        self.at += u64::try_from(read).unwrap_or(0);
        Ok(read)
    }

    /// Appends what was read.
    fn write(&mut self, out: &mut Vec<u8>) {
        let mut piece = std::mem::take(&mut self.piece);
        let mut done = 0;
        if matches!(self.place, Place::Start | Place::Header) {
            done = self.write_header(&piece, out);
        }
        if self.place == Place::Text {
            self.write_text(&piece[done..], out);
            done = piece.len();
        }
        piece.drain(..done);
        self.piece = piece;
    }

    /// Appends header lines and returns how much of the piece that was.
    fn write_header(&mut self, piece: &[u8], out: &mut Vec<u8>) -> usize {
        if self.place == Place::Start {
            if piece.len() < 2 {
                return 0;
            }
            if piece.starts_with(b"\r\n") {
                self.header_ended(out);
                return 2;
            }
            self.place = Place::Header;
        }
        match memmem::find(piece, b"\r\n\r\n") {
            Some(end) => {
                self.put(&piece[..end + 2], out);
                self.header_ended(out);
                end + 4
            }
            None => {
                // The empty line may have begun.
                let sure = piece.len().saturating_sub(3);
                self.put(&piece[..sure], out);
                sure
            }
        }
    }

    fn header_ended(&mut self, out: &mut Vec<u8>) {
        self.put_status(out);
        self.put(b"\r\n", out);
        self.place = Place::Text;
        if self.lines == Some(0) {
            self.finish(out);
        }
    }

    fn write_text(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let Some(lines) = self.lines else { return self.put(piece, out) };
        let mut left = lines;
        for end in memchr_iter(b'\n', piece) {
            left -= 1;
            if left == 0 {
                self.put(&piece[..=end], out);
                return self.end(out);
            }
        }
        self.lines = Some(left);
        self.put(piece, out);
    }

    /// Appends the end of a message that was read to its end, or as far as it is wanted.
    fn end(&mut self, out: &mut Vec<u8>) {
        let header = self.place != Place::Text;
        let rest = std::mem::take(&mut self.piece);
        self.put(&rest, out);
        if self.last != *b"\r\n" {
            self.put(b"\r\n", out);
        }
        if header {
            self.put_status(out);
        }
        self.finish(out);
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        match self.stuffing {
            Some(stuffing) => stuffing.end(out),
            None => out.extend_from_slice(b"\r\n"),
        }
        self.place = Place::End;
    }

    fn put_status(&mut self, out: &mut Vec<u8>) {
        let [read, old] = self.status;
        self.put(&[b'S', b't', b'a', b't', b'u', b's', b':', b' ', read, old, b'\r', b'\n'], out);
    }

    fn put(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        match octets {
            [] => return,
            [only] => self.last = [self.last[1], *only],
            [.., before, last] => self.last = [*before, *last],
        }
        match &mut self.stuffing {
            Some(stuffing) => stuffing.append(octets, out),
            None => out.extend_from_slice(octets),
        }
    }
}

/// Makes each NUL, which no mail may have (RFC 5322 §2.2), the octet that the IMAP server of the reference sends.
fn clean(octets: &mut [u8]) {
    let mut at = 0;
    while let Some(found) = memchr::memchr(0, &octets[at..]) {
        at += found;
        octets[at] = 0x80;
    }
}
