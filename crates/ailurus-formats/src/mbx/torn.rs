//! What an appender that died left at the end of a file, and how it is taken away (see the module comment of `mbx`).

use super::file::MbxFile;
use super::header::{Header, Intent};
use super::line::{Field, Line, MOST};
use crate::checksum::sum_of;
use crate::lock::NameLock;
use crate::window::Window;
use ailurus_store::{Level, Result};
use ailurus_types::InternalDate;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const PAGE: u64 = 4096;

/// What is at the end of a file that is not to stay there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Rest {
    /// Of an append of which nobody was told.
    Unfinished,
    /// Octets without a line before them: of such an append, or else of a message whose line the disk has lost.
    Unclear,
}

/// Tells whether the octets at `pos`, which are no line, are the rest of an append whose other pages never reached
/// the disk or were never written: the beginning of a line and nothing behind, or NULs up to the end of a page.
///
/// A disk that loses a page or a sector leaves NULs in the middle of good mail just so. Where another message is
/// anywhere behind them, that is damage, which is not for us to cut.
pub(super) fn is_torn(file: &File, octets: &[u8], pos: u64, size: u64) -> io::Result<Option<Rest>> {
    if pos + octets.len() as u64 == size && Line::is_cut_off(octets) {
        return Ok(Some(Rest::Unfinished));
    }
    let end = (pos / PAGE + 1) * PAGE;
    if !is_nul(file, pos, end.min(size))? {
        return Ok(None);
    }
    if end >= size || is_nul(file, end, size)? {
        return Ok(Some(Rest::Unfinished));
    }
    Ok((!has_message(file, end, size)?).then_some(Rest::Unclear))
}

/// Tells whether there is the line of a message anywhere between.
fn has_message(file: &File, from: u64, to: u64) -> io::Result<bool> {
    const BLOCK: usize = 1024 * 1024;
    let finder = memchr::memmem::Finder::new(b"\r\n");
    let mut block = vec![0; usize::try_from(to - from).unwrap_or(BLOCK).min(BLOCK)];
    let mut at = from;
    loop {
        let most = usize::try_from(to - at).unwrap_or(BLOCK).min(BLOCK);
        file.read_exact_at(&mut block[..most], at)?;
        for hit in finder.find_iter(&block[..most]) {
            let end = hit + 2;
            let line = start_of_line(&block[..end]).map(|start| Line::parse(&block[start..end], 0, 0));
            if line.is_some_and(|line| line.is_ok_and(|line| line.date.is_some())) {
                return Ok(true);
            }
        }
        if most < BLOCK {
            return Ok(false);
        }
        at += (BLOCK - 2 * MOST) as u64;
    }
}

fn is_nul(file: &File, mut from: u64, to: u64) -> io::Result<bool> {
    let mut block = vec![0; 64 * 1024];
    while from < to {
        let most = usize::try_from(to - from).unwrap_or(usize::MAX).min(block.len());
        file.read_exact_at(&mut block[..most], from)?;
        if block[..most].iter().any(|octet| *octet != 0) {
            return Ok(false);
        }
        from += most as u64;
    }
    Ok(true)
}

/// Settles the intent in the header, if there is one: what it announced is either there to the last octet or taken
/// away. Returns the size of the file afterwards. `parsed` is up to where this session knows the file.
pub(super) fn settle(
    file: &MbxFile,
    lock: &NameLock,
    header: &mut Header,
    parsed: u64,
    size: u64,
) -> Result<u64> {
    let Some(intent) = header.intent() else { return Ok(size) };
    let mut size = size;
    let open = intent.end > intent.start && intent.start >= parsed && size > intent.start;
    if open && !is_done(file, intent, size)? && is_believable(file, intent, size).map_err(file.io("read"))? {
        size = mend(file, lock, Rest::Unfinished, intent.start, size)?;
    }
    header.set_intent(None);
    file.write_header(header)?;
    Ok(size)
}

/// A stale or damaged intent must not cost mail: it starts where a line ends, and nobody has seen what is there.
fn is_believable(file: &MbxFile, intent: Intent, size: u64) -> io::Result<bool> {
    let mut window = Window::new(&file.file, super::header::SIZE as u64);
    let mut at = super::header::SIZE as u64;
    while at < intent.start {
        let Ok(line) = Line::parse(window.get(at, MOST)?, at, 0) else { return Ok(false) };
        at = at.saturating_add(u64::from(line.len)).saturating_add(line.size);
    }
    if at != intent.start || at > size {
        return Ok(false);
    }
    let first = Line::parse(window.get(at, MOST)?, at, 0);
    Ok(first.is_err() || first.is_ok_and(|line| !line.field.old && line.field.uid != 0))
}

fn is_done(file: &MbxFile, intent: Intent, size: u64) -> Result<bool> {
    if size < intent.end {
        return Ok(false);
    }
    let sum = sum_of(&file.file, intent.start..intent.end).map_err(file.io("read"))?;
    Ok(sum == intent.sum)
}

/// Takes away the torn append at `pos` and returns the size of the file afterwards. What another program appended
/// behind it meanwhile stays: then the torn octets become a hidden message, whose space is reclaimed later. Octets
/// that could be of a message somebody was told of are kept in a file of their own.
pub(super) fn mend(file: &MbxFile, _lock: &NameLock, rest: Rest, pos: u64, size: u64) -> Result<u64> {
    let told = |what: &str, octets: u64| {
        let path = file.path.display();
        let text = format!("{path}: {what} {octets} octets of an unfinished append at byte {pos}");
        file.environment.notices.tell(Level::Log, text);
    };
    let Some(kept) = find_messages(file, pos, size)? else {
        if rest == Rest::Unclear {
            let kept =
                file.places()?.keep(&*file.disk, &file.file, pos..size).map_err(file.io("keep a part of"))?;
            let text = format!("{} octets that are no message were put into {}", size - pos, kept.display());
            file.environment.notices.tell(Level::Log, text);
        }
        told("cut off", size - pos);
        file.disk.set_len(&file.file, pos).map_err(file.io("cut back"))?;
        file.sync()?;
        return Ok(pos);
    };
    let Some(line) = hiding_line(kept - pos) else {
        return Err(file.damaged(pos, "no room to hide an unfinished append".into()));
    };
    told("hid", kept - pos);
    file.write(&line, pos)?;
    file.sync()?;
    Ok(size)
}

/// Returns the line of a hidden message that takes so many octets with its line.
fn hiding_line(octets: u64) -> Option<Vec<u8>> {
    let field = Field { old: true, hidden: true, ..Field::default() };
    (51..=MOST as u64).find_map(|len| {
        let mut line = Vec::new();
        let size = octets.checked_sub(len).filter(|size| *size > 0)?;
        Line::append_to(InternalDate::default(), size, field, &mut line);
        (line.len() as u64 == len).then_some(line)
    })
}

/// Looks behind `pos` for messages of another program: the first line without a UID (an appender of ours gives
/// every message one) from which lines lead to the end of the file.
fn find_messages(file: &MbxFile, pos: u64, size: u64) -> Result<Option<u64>> {
    const MOST_TRIES: usize = 1000;
    const BLOCK: usize = 1024 * 1024;
    const NO_UID: &[u8] = b"-00000000\r\n";
    let finder = memchr::memmem::Finder::new(NO_UID);
    let mut block = vec![0; BLOCK];
    let (mut at, mut tries) = (pos, 0);
    while at < size {
        let most = usize::try_from(size - at).unwrap_or(usize::MAX).min(BLOCK);
        file.file.read_exact_at(&mut block[..most], at).map_err(file.io("read"))?;
        for hit in finder.find_iter(&block[..most]) {
            let line_end = hit + NO_UID.len();
            let Some(start) = start_of_line(&block[..line_end]) else { continue };
            let start = at + start as u64;
            if start <= pos {
                continue;
            }
            tries += 1;
            if tries > MOST_TRIES {
                return Err(file.damaged(pos, "too much behind an unfinished append".into()));
            }
            if leads_to_end(&file.file, start, size).map_err(file.io("read"))? {
                return Ok(Some(start));
            }
        }
        if most < BLOCK {
            break;
        }
        at += (BLOCK - 2 * MOST) as u64;
    }
    Ok(None)
}

/// Returns where the line begins that ends these octets, if its date has the usual 26.
fn start_of_line(octets: &[u8]) -> Option<usize> {
    let semicolon = octets.len().checked_sub(super::line::FIELD)?;
    if octets[semicolon] != b';' {
        return None;
    }
    let digits = octets[..semicolon].iter().rev().take_while(|octet| octet.is_ascii_digit()).count();
    let comma = semicolon.checked_sub(digits + 1)?;
    (octets[comma] == b',').then(|| comma.checked_sub(26))?
}

/// Tells whether messages follow each other from here to the end of the file, of which the last may be torn itself.
fn leads_to_end(file: &File, start: u64, size: u64) -> io::Result<bool> {
    let mut window = Window::new(file, start);
    let mut at = start;
    while at < size {
        let octets = window.get(at, MOST)?;
        let is_cut_off = at + octets.len() as u64 == size && Line::is_cut_off(octets);
        let line = match Line::parse(octets, at, 0) {
            Ok(line) if line.date.is_some() => line,
            _ => return Ok(is_cut_off && at > start),
        };
        let next = at.saturating_add(u64::from(line.len)).saturating_add(line.size);
        if next > size {
            return Ok(at > start);
        }
        at = next;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hiding_line_and_its_message_take_what_was_asked_for() {
        for octets in 54..2000u64 {
            let Some(line) = hiding_line(octets) else { continue };
            let parsed = Line::parse(&line, 0, 0).unwrap();
            assert_eq!(u64::from(parsed.len) + parsed.size, octets);
        }
        assert!(hiding_line(52).is_none());
        assert!(hiding_line(60).is_some());
    }
}
