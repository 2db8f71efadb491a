//! The messages of an append until it is committed.

use crate::spool::Spool;
use ailurus_store::{AppendMeta, Environment, Error, Result};
use std::path::{Path, PathBuf};

/// Messages on their way into a mailbox, as they will be in its file.
pub(crate) struct Incoming {
    path: PathBuf,
    line_ends: LineEnds,
    spool: Spool,
    messages: Vec<Waiting>,
    /// The message being written, and how many octets of it are missing.
    current: Option<u64>,
    block: Vec<u8>,
}

/// How a format ends lines.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum LineEnds {
    /// As they come over the wire.
    Crlf,
    /// With LF; every CR is dropped.
    Lf,
}

/// A message in the spool.
pub(crate) struct Waiting {
    pub(crate) meta: AppendMeta,
    /// Its octets as they will be in the file.
    pub(crate) size: u64,
    start: u64,
}

impl Incoming {
    /// Returns an append without messages to the mailbox at this path.
    pub(crate) fn new(path: &Path, environment: &Environment, line_ends: LineEnds) -> Self {
        let spool = Spool::new(environment, path);
        let (messages, block) = (Vec::new(), Vec::new());
        Self { path: path.into(), line_ends, spool, messages, current: None, block }
    }

    pub(crate) fn begin(&mut self, meta: AppendMeta) -> Result<()> {
        if meta.size == 0 {
            return Err(no_octets());
        }
        if self.current.is_some() {
            return Err(wrong_size());
        }
        self.current = Some(meta.size);
        self.messages.push(Waiting { meta, size: 0, start: self.spool.len() });
        Ok(())
    }

    pub(crate) fn write(&mut self, octets: &[u8]) -> Result<()> {
        let missing = self.missing()?;
        *missing = missing.checked_sub(octets.len() as u64).ok_or_else(wrong_size)?;
        let failed = Error::io("store what is to append to", &self.path);
        match self.line_ends {
            LineEnds::Crlf => self.spool.write(octets).map_err(failed),
            LineEnds::Lf => {
                self.block.clear();
                self.block.extend(octets.iter().filter(|octet| **octet != b'\r'));
                self.spool.write(&self.block).map_err(failed)
            }
        }
    }

    pub(crate) fn end(&mut self) -> Result<()> {
        if *self.missing()? != 0 {
            return Err(wrong_size());
        }
        let end = self.spool.len();
        if let Some(last) = self.messages.last_mut() {
            last.size = end - last.start;
            // Nothing but CRs is left as nothing.
            if last.size == 0 {
                return Err(no_octets());
            }
        }
        self.current = None;
        Ok(())
    }

    /// Returns the messages, all of which must have ended.
    pub(crate) fn messages(&self) -> Result<&[Waiting]> {
        if self.current.is_some() { Err(wrong_size()) } else { Ok(&self.messages) }
    }

    /// Gives the first octets of a message in pieces; all of them if it has no more than `most`.
    pub(crate) fn give(
        &self,
        message: &Waiting,
        most: u64,
        give: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let failed = |error| Error::io("read what is to append to", &self.path)(error);
        self.spool.read(message.start, message.start + message.size.min(most), failed, give)
    }

    fn missing(&mut self) -> Result<&mut u64> {
        self.current.as_mut().ok_or_else(|| Error::Refused("no message was begun".into()))
    }
}

fn no_octets() -> Error {
    Error::Refused("Append of zero-length message".into())
}

fn wrong_size() -> Error {
    Error::Refused("message does not have the size it was announced with".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incoming(line_ends: LineEnds) -> (tempfile::TempDir, Incoming) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("box");
        let environment = Environment::new("alice", directory.path().into(), path.clone(), "example.com");
        (directory, Incoming::new(&path, &environment, line_ends))
    }

    #[test]
    fn messages_have_the_octets_that_the_file_will_have() {
        for (line_ends, expected) in [(LineEnds::Crlf, &b"a\r\nb\r\n"[..]), (LineEnds::Lf, b"a\nb\n")] {
            let (_directory, mut incoming) = incoming(line_ends);
            incoming.begin(AppendMeta { size: 6, ..AppendMeta::default() }).unwrap();
            incoming.write(b"a\r").unwrap();
            assert!(incoming.messages().is_err() && incoming.end().is_err());
            incoming.write(b"\nb\r\n").unwrap();
            assert!(incoming.write(b"x").is_err());
            incoming.end().unwrap();
            let message = &incoming.messages().unwrap()[0];
            let mut octets = Vec::new();
            let mut take = |piece: &[u8]| {
                octets.extend_from_slice(piece);
                Ok(())
            };
            incoming.give(message, u64::MAX, &mut take).unwrap();
            incoming.give(message, 1, &mut take).unwrap();
            assert_eq!((octets, message.size), ([expected, b"a"].concat(), expected.len() as u64));
        }
    }

    #[test]
    fn a_message_of_nothing_is_refused() {
        let (_directory, mut incoming) = incoming(LineEnds::Lf);
        assert!(incoming.begin(AppendMeta::default()).is_err());
        incoming.begin(AppendMeta { size: 2, ..AppendMeta::default() }).unwrap();
        incoming.write(b"\r\r").unwrap();
        assert!(incoming.end().is_err() && incoming.messages().is_err());
    }
}
