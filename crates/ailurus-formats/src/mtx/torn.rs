//! What an appender that died left at the end of a file, and how it is taken away (see the module comment of `mtx`).

use super::Dialect;
use super::ledger::{Held, Ledger};
use super::line::{FLAGS, Line, MOST};
use super::note::Intent;
use crate::checksum::{lacks_a_page, sum_of};
use crate::journal::read_up_to;
use crate::lock::NameLock;
use crate::mail_file::MailFile;
use crate::rewrite::Rewrite;
use crate::window::Window;
use ailurus_store::{Level, Result};
use std::fs::File;
use std::io;

const BLOCK: usize = 256 * 1024;

/// What became of an append that was announced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    /// All of it is there.
    Done,
    /// A part of it is there.
    Unfinished,
    /// Nothing of it is there: what is there is something else.
    NotBegun,
}

/// Settles the append that the sidecar announces, now that the lines led to where it was to begin: it is there to the
/// last octet, or it is taken away. Returns the size of the file afterwards; `None` when it must be left as it is, and
/// nothing from there on read, because this session may not write.
pub(super) fn settle(
    file: &MailFile,
    dialect: &Dialect,
    ledger: &mut Ledger,
    held: &Held,
    writable: bool,
    size: u64,
) -> Result<Option<Settled>> {
    let start = ledger.note.end;
    let Some(intent) = ledger.note.intent.clone() else { return Ok(Some(Settled { size, void: None })) };
    let (size, void) = match judge(&file.file, &intent, start, size).map_err(file.io("read"))? {
        Outcome::Done => (size, None),
        Outcome::NotBegun => (size, Some(intent.uids)),
        Outcome::Unfinished if writable => {
            (mend(file, dialect, held.name(), &intent, start, size)?, Some(intent.uids))
        }
        Outcome::Unfinished => return Ok(None),
    };
    ledger.note.intent = None;
    Ok(Some(Settled { size, void }))
}

/// What is left of an append that was announced.
pub(super) struct Settled {
    /// The size of the file now.
    pub(super) size: u64,
    /// The first and the last UID of messages that never came. The same messages may come again, with other UIDs.
    pub(super) void: Option<(u32, u32)>,
}

/// Looks what became of an append that was to begin at `start`, where a line ends, in a file of this size.
///
/// The line of the first message is written last. So as long as it is not there, nobody has seen anything of the append;
/// and what is there without being that line, or a part of it among NULs, is not of the append.
fn judge(file: &File, intent: &Intent, start: u64, size: u64) -> io::Result<Outcome> {
    let mut there = Vec::new();
    read_up_to(file, start, intent.line.len(), &mut there)?;
    there.truncate(usize::try_from(size.saturating_sub(start)).unwrap_or(usize::MAX));
    if there.is_empty() || there.iter().zip(&intent.line).any(|(there, line)| *there != 0 && there != line) {
        return Ok(Outcome::NotBegun);
    }
    if there != intent.line || size < intent.end {
        return Ok(Outcome::Unfinished);
    }
    if sum_of(file, start..intent.end)? == intent.sum {
        return Ok(Outcome::Done);
    }
    // The line is there, and pages behind it are not: so it is after a power loss. Otherwise somebody has appended another
    // message with the same line.
    let torn = lacks_a_page(file, start, intent.end)?;
    Ok(if torn { Outcome::Unfinished } else { Outcome::NotBegun })
}

/// Takes away the unfinished append at `start`, and returns the size of the file afterwards. What another program
/// appended behind it stays: it slides down. Nobody knows where that is, for nobody could read past `start`; so it may
/// move even while others have the mailbox open.
fn mend(
    file: &MailFile,
    dialect: &Dialect,
    _lock: &NameLock,
    intent: &Intent,
    start: u64,
    size: u64,
) -> Result<u64> {
    let told = |octets: u64| {
        let path = file.path.display();
        let text = format!("{path}: took out {octets} octets of an unfinished append at byte {start}");
        file.environment.notices.tell(Level::Log, text);
    };
    let Some(kept) = find_messages(file, dialect, intent, start, size)? else {
        told(size - start);
        file.disk.set_len(&file.file, start).map_err(file.io("cut back"))?;
        file.sync()?;
        return Ok(start);
    };
    told(kept - start);
    let places = file.places()?;
    let rewrite = (|| {
        let mut rewrite = Rewrite::begin(&file.disk, &places, &file.file)?;
        rewrite.copy(0..start)?;
        rewrite.copy(kept..size)?;
        rewrite.finish()
    })();
    rewrite.map_err(|error| file.io("rewrite")(error.into_io()))?;
    Ok(start + (size - kept))
}

/// Looks behind `start` for messages of another program: where the append was to end, or the first line from which lines
/// lead to the end of the file.
///
/// The file is made as long as it will be before anything is written. So an append of another program is behind the end,
/// unless a power loss took that length back, and then it can be anywhere.
fn find_messages(
    file: &MailFile,
    dialect: &Dialect,
    intent: &Intent,
    start: u64,
    size: u64,
) -> Result<Option<u64>> {
    const MOST_TRIES: usize = 1000;
    if size == intent.end {
        return Ok(None);
    }
    let leads_to_end = |at: u64| leads_to_end(&file.file, dialect, at, size).map_err(file.io("read"));
    if size > intent.end && leads_to_end(intent.end)? {
        return Ok(Some(intent.end));
    }
    let (mut block, mut at, mut tries) = (Vec::new(), start, 0);
    while at < size {
        let most = usize::try_from(size - at).unwrap_or(BLOCK).min(BLOCK);
        read_up_to(&file.file, at, most, &mut block).map_err(file.io("read"))?;
        for end in memchr::memchr_iter(b'\n', &block) {
            let Some(line) = start_of_line(&block[..=end], dialect).map(|start| at + start as u64) else {
                continue;
            };
            tries += 1;
            if tries > MOST_TRIES {
                return Err(file.damaged(start, "too much behind an unfinished append".into()));
            }
            if line > start && leads_to_end(line)? {
                return Ok(Some(line));
            }
        }
        if most < BLOCK {
            break;
        }
        at += (BLOCK - 2 * MOST) as u64;
    }
    if size > intent.end {
        return Err(file.damaged(start, "something else is behind an unfinished append".into()));
    }
    Ok(None)
}

/// Returns where the line begins that ends these octets, if its date has the usual 26.
fn start_of_line(octets: &[u8], dialect: &Dialect) -> Option<usize> {
    let digits = octets.len().checked_sub(dialect.newline.len() + FLAGS)?;
    let semicolon = digits.checked_sub(1).filter(|at| octets[*at] == b';')?;
    let size = octets[..semicolon].iter().rev().take_while(|octet| octet.is_ascii_digit()).count();
    let comma = semicolon.checked_sub(size + 1)?;
    (octets[comma] == b',').then(|| comma.checked_sub(26))?
}

fn leads_to_end(file: &File, dialect: &Dialect, start: u64, size: u64) -> io::Result<bool> {
    let mut window = Window::new(file, start);
    let mut at = start;
    while at < size {
        let Ok(line) = Line::parse(window.get(at, MOST)?, at, dialect, 0) else { return Ok(false) };
        at = at.saturating_add(u64::from(line.len)).saturating_add(line.size);
    }
    Ok(at == size)
}
