//! Looking over a mailbox (see [`crate::repair`]).

use super::file::NAME;
use super::index::Index;
use super::{Mx, is_mailbox};
use crate::numbered::Names;
use crate::repair::single::{open_quietly, wait_for};
use crate::repair::{Findings, folder};
use ailurus_store::{Error, Location, Result};

impl Mx {
    /// Looks over a mailbox, and changes nothing.
    pub(crate) fn verify(&self, at: &Location) -> Result<Findings> {
        let path = self.path(at).ok_or_else(|| Error::NotFound(at.name.clone()))?;
        if !is_mailbox(&path).map_err(Error::io("look at", &path))? {
            return Err(Error::WrongFormat { format: "mx", path });
        }
        let name = path.join(NAME);
        let file = open_quietly(&name).map_err(Error::io("open", &name))?;
        wait_for(&file, &name)?;
        let index = Index::read(&file).map_err(Error::io("read", &name))?;
        let mut findings = folder::verify(&path)?;
        if let Some((offset, what)) = &index.error {
            findings.damage(&name, *offset, format!("Error in index: {what}"));
        }
        let names = Names::read(&path).map_err(Error::io("read", &path))?;
        if index.validity == 0 && !names.numbers.is_empty() {
            findings.oddity(&name, 0, "no UIDVALIDITY: a new one is given, and flags are lost");
        }
        if names.highest() > index.last {
            let what =
                format!("UIDLAST is {}, and there is a message with UID {}", index.last, names.highest());
            findings.oddity(&name, 0, what);
        }
        Ok(findings)
    }
}
