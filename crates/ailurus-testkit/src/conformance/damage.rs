//! Mailboxes with damage at any place: no panic, no hang, and nothing that could be read before is lost by it that
//! somebody opens the mailbox.

use super::Format;
use super::home::{Home, Message, change, expunge, keyword, read, set, store, text};
use crate::random::Random;
use ailurus_store::{Access, Extent, Manner};
use ailurus_types::{FlagOp, SystemFlags, UidSet};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Longer than any damage may keep us.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn a_mailbox_cut_short_keeps_what_can_be_read(format: &'static Format) {
    damage_everywhere(format, |content, at, _| content.truncate(at));
}

pub(super) fn a_mailbox_with_a_flipped_bit_keeps_what_can_be_read(format: &'static Format) {
    damage_everywhere(format, |content, at, random| content[at] ^= 1 << random.below(8));
}

pub(super) fn a_mailbox_with_lost_pages_keeps_what_can_be_read(format: &'static Format) {
    damage_everywhere(format, |content, at, random| {
        let end = content.len().min(at + 1 + random.below(700));
        content[at..end].fill(0);
    });
}

pub(super) fn a_mailbox_with_foreign_octets_keeps_what_can_be_read(format: &'static Format) {
    damage_everywhere(format, |content, at, random| {
        let from = random.below(content.len());
        let piece = content[from..content.len().min(from + random.below(300))].to_vec();
        content.splice(at..at, piece);
    });
}

fn damage_everywhere(format: &'static Format, damage: fn(&mut Vec<u8>, usize, &mut Random)) {
    let home = prepare(format);
    let files = home.files();
    let places: Vec<_> = files
        .iter()
        .enumerate()
        .flat_map(|(n, (_, content))| (0..content.len()).map(move |at| (n, at)))
        .collect();
    let step = if super::long() { 1 } else { (places.len() / 40).max(1) };
    // Not all at the same place of a line.
    for (number, place) in places.chunks(step).enumerate() {
        let mut random = Random::new(number as u64);
        let (n, at) = *random.pick(place);
        let (path, content) = &files[n];
        let mut content = content.clone();
        damage(&mut content, at, &mut random);
        lay_out(&home, &files);
        fs::write(path, content).unwrap();
        let begun = Instant::now();
        let what = format!("{} damaged at {at}, seed {number}", path.display());
        super::telling(&what, || verify(&home, &what));
        assert!(begun.elapsed() < PATIENCE, "{what}: took {:?}", begun.elapsed());
    }
}

/// Messages with flags and keywords, some of which were expunged, and two that no session has seen.
fn prepare(format: &'static Format) -> Home {
    let home = Home::filled(format, 6);
    let mut mailbox = home.open();
    let by = change(FlagOp::Add, SystemFlags::FLAGGED | SystemFlags::SEEN, &["One", "Two"]);
    drop(store(&mut *mailbox, &set(&[1, 3]), &by).unwrap());
    if !home.abilities().read_only {
        drop(expunge(&mut *mailbox, &set(&[2])).unwrap());
    }
    mailbox.close().unwrap();
    if !home.abilities().read_only {
        home.append(&Message { keywords: vec![keyword("One")], ..Message::number(7) }).unwrap();
        home.append(&Message::number(8)).unwrap();
    }
    home
}

/// Puts the files back, and takes others away.
fn lay_out(home: &Home, files: &[(PathBuf, Vec<u8>)]) {
    for (path, _) in home.files() {
        fs::remove_file(path).unwrap();
    }
    for (path, content) in files {
        fs::write(path, content).unwrap();
    }
}

/// Does all that sessions do, and looks after each step.
fn verify(home: &Home, what: &str) {
    let disk = std::sync::Arc::new(crate::faulty::NoSync);
    let home = Home::at(home.format, home.directory(), disk);
    let at = home.at_box();
    home.driver().probe(&at).unwrap();
    drop(home.driver().status(&at));
    let look = || {
        let mut mailbox = home.driver().open(&at, Access::ReadOnly, Manner::Silent).ok()?;
        // What is damaged itself is none that could be read.
        let uids: Vec<_> = mailbox.snapshot().messages.iter().map(|message| message.uid()).collect();
        let texts = uids.into_iter().filter_map(|uid| read(&mut *mailbox, uid, Extent::Whole, 1 << 16).ok());
        // A From_ line that lacks its end is text; who writes the mailbox gives it its end.
        let is_unsure = home.abilities().quotes_from;
        Some(texts.map(|text| if is_unsure { without_from_line(text) } else { text }).collect::<Vec<_>>())
    };
    let (files, before) = (home.files(), look());
    let still_there = |step: &str| {
        let Some(before) = &before else { return };
        let now = look().unwrap_or_else(|| panic!("{what}: after {step} it does not open any more"));
        let mut missing = before.clone();
        for text in &now {
            if let Some(found) = missing.iter().position(|old| old == text) {
                missing.swap_remove(found);
            }
        }
        let print = |text: &Vec<u8>| {
            let end = text.len().saturating_sub(100);
            format!("{} octets {:?} … {:?}", text.len(), start(text), text[end..].escape_ascii().to_string())
        };
        let missing: Vec<_> = missing.iter().map(print).collect();
        let now: Vec<_> = now.iter().map(print).collect();
        assert!(missing.is_empty(), "{what}: after {step} it lacks {missing:#?} and has {now:#?}");
    };
    match home.open_at(&at, Access::ReadWrite) {
        Ok(mailbox) => drop(mailbox.close()),
        Err(error) => {
            assert!(home.files() == files, "{what}: it does not open ({error}), and was written");
        }
    }
    still_there("opening and closing");
    if let Ok(mut mailbox) = home.open_at(&at, Access::ReadWrite) {
        drop(mailbox.refresh());
        drop(store(&mut *mailbox, &UidSet::all(), &change(FlagOp::Add, SystemFlags::ANSWERED, &["New"])));
        drop(mailbox.close());
        still_there("a store");
    }
    if !home.abilities().read_only {
        let appended = home.append(&Message::number(9));
        still_there("an append");
        if appended.is_ok() && before.is_some() {
            let now = look().expect("just looked");
            assert!(now.contains(&text(9)), "{what}: what was appended is not there");
        }
    }
}

fn without_from_line(mut text: Vec<u8>) -> Vec<u8> {
    let line = text.trim_ascii_end().iter().rposition(|octet| *octet == b'\n').map_or(0, |at| at + 1);
    if text[line..].starts_with(b"From ") {
        text.truncate(text[..line].trim_ascii_end().len() + 2);
    }
    text
}

fn start(text: &[u8]) -> String {
    text[..text.len().min(60)].escape_ascii().to_string()
}
