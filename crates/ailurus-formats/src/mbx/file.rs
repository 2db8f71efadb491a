//! An mbx file with what is needed to work on it.

use super::header::{self, Header};
use crate::mail_file::MailFile;
use ailurus_store::Result;
use std::os::unix::fs::FileExt;

/// An open mbx file.
pub(super) type MbxFile = MailFile;

impl MailFile {
    /// Reads the header.
    pub(super) fn header(&self) -> Result<Header> {
        let mut raw = vec![0; header::SIZE];
        let read = self.file.read_exact_at(&mut raw, 0);
        read.map_err(self.io("read the header of"))?;
        Header::parse(&raw).ok_or_else(|| self.damaged(0, "mailbox has no mbx header".into()))
    }

    /// Writes the whole header.
    pub(super) fn write_header(&self, header: &mut Header) -> Result<()> {
        self.disk.write_at(&self.file, header.encode(), 0).map_err(self.io("write the header of"))
    }
}
