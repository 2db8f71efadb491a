//! Looking over mailboxes of one file a message: mx, mh, news. Nothing can be out of order between messages there.

use super::Findings;
use super::single::open_quietly;
use crate::disk::Disk;
use crate::journal::{BLOCK, read_up_to};
use crate::numbered::Names;
use crate::sidecar::{Reading, Records, Sidecar};
use ailurus_store::{Error, Result};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Looks at each message of a directory.
pub(crate) fn verify(directory: &Path) -> Result<Findings> {
    let mut findings = Findings::default();
    let names = Names::read(directory).map_err(Error::io("read", directory))?;
    for number in &names.numbers {
        look(&directory.join(number.to_string()), &mut findings);
    }
    for name in &names.leftovers {
        let what = "the rest of a change that was cut off; the next session that may write finishes it";
        findings.oddity(&directory.join(name), 0, what);
    }
    Ok(findings)
}

/// Tells of a sidecar that is damaged: its UIDs are lost.
pub(crate) fn look_at_sidecar<const N: usize>(disk: &Arc<dyn Disk>, path: &Path, findings: &mut Findings) {
    let mut sidecar = Sidecar::<N>::new(Arc::clone(disk), path.into(), 0o600);
    let Ok(Some(lock)) = sidecar.lock_to_read() else { return };
    let is_usable =
        sidecar.read(&lock, &mut Records::default()).is_ok_and(|reading| reading != Reading::Unusable);
    if !is_usable && lock.file().metadata().is_ok_and(|found| found.len() > 0) {
        let what =
            "UIDs cannot be read: the next session gives all messages new ones, under a new UIDVALIDITY";
        findings.oddity(path, 0, what);
    }
}

fn look(path: &Path, findings: &mut Findings) {
    let found = match path.metadata() {
        // What is not there any more was removed as we looked.
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_err() => return,
        Err(error) => return findings.damage(path, 0, format!("the message cannot be read: {error}")),
        Ok(found) => found,
    };
    if !found.is_file() {
        return findings.oddity(path, 0, "has the name of a message and is none");
    }
    if found.len() == 0 {
        return findings.oddity(path, 0, "the message is empty");
    }
    if let Err((at, error)) = open_quietly(path).map_err(|error| (0, error)).and_then(|file| read(&file)) {
        findings.damage(path, at, format!("the message cannot be read: {error}"));
    }
}

/// Reads all of a file; an error comes with how far it went.
fn read(file: &File) -> Result<(), (u64, io::Error)> {
    let (mut at, mut block) = (0, Vec::new());
    loop {
        read_up_to(file, at, BLOCK, &mut block).map_err(|error| (at, error))?;
        if block.is_empty() {
            return Ok(());
        }
        at += block.len() as u64;
    }
}
