//! The messages of an append until it is committed.

use crate::size_check::{SizeCheck, no_octets};
use crate::spool::Spool;
use ailurus_store::{AppendMeta, Environment, Error, Result};
use std::path::{Path, PathBuf};

/// Messages on their way into a mailbox, as they will be in its file.
pub(crate) struct Incoming {
    path: PathBuf,
    line_ends: LineEnds,
    spool: Spool,
    messages: Vec<Waiting>,
    sizes: SizeCheck,
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
        let (messages, block, sizes) = (Vec::new(), Vec::new(), SizeCheck::default());
        Self { path: path.into(), line_ends, spool, messages, sizes, block }
    }

    pub(crate) fn begin(&mut self, meta: AppendMeta) -> Result<()> {
        self.sizes.begin(meta.size)?;
        self.messages.push(Waiting { meta, size: 0, start: self.spool.len() });
        Ok(())
    }

    pub(crate) fn write(&mut self, octets: &[u8]) -> Result<()> {
        self.sizes.count(octets)?;
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
        self.sizes.check_whole()?;
        let end = self.spool.len();
        if let Some(last) = self.messages.last_mut() {
            last.size = end - last.start;
            // Nothing but CRs is left as nothing.
            if last.size == 0 {
                return Err(no_octets());
            }
        }
        self.sizes.end()
    }

    /// Returns the messages, all of which must have ended.
    pub(crate) fn messages(&self) -> Result<&[Waiting]> {
        self.sizes.check_ended()?;
        Ok(&self.messages)
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
