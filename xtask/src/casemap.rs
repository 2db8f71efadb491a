//! The tables of `ailurus_charset::casemap`, from Unicode's properties as the standard library and `unicode-normalization`
//! have them, which must be of one version.
//!
//! * `casemap-index.bin`: for each block of 128 characters, which block of entries is its own.
//! * `casemap-entries.bin`: for each character of a block 16 bits, least significant octet first: 0 if it stays as it is; up
//!   to 255 if it stays and is a mark of that combining class; else 256 more than the number of its form.
//! * `casemap-forms.bin`: for each form five octets: where its text begins (16 bits), the length, the combining class of
//!   its first and of its last character. `casemap-forms.txt`: the texts.
//!
//! Hangul syllables are left out: their parts can be computed.

use std::collections::HashMap;
use std::fs;
use unicode_normalization::{UnicodeNormalization, char::canonical_combining_class as class};

/// Characters from here on stay as they are.
const END: u32 = 0x2fa80;
const BLOCK: usize = 128;

/// Returns the tables by their names.
pub(crate) fn tables() -> Result<Vec<(&'static str, Vec<u8>)>, String> {
    let (ours, theirs) = (char::UNICODE_VERSION, unicode_normalization::UNICODE_VERSION);
    if ours != theirs {
        return Err(format!("the standard library has Unicode {ours:?}, unicode-normalization {theirs:?}"));
    }
    let mut forms = Forms::default();
    let mut blocks: Vec<Vec<u16>> = vec![vec![0; BLOCK]];
    let mut index = Vec::new();
    let codes: Vec<u32> = (0..END).collect();
    for codes in codes.chunks(BLOCK) {
        let entries = codes.iter().map(|&code| char::from_u32(code).map_or(Ok(0), |c| forms.entry(c)));
        let block = entries.collect::<Result<Vec<u16>, String>>()?;
        let number = blocks.iter().position(|known| *known == block).unwrap_or_else(|| {
            blocks.push(block);
            blocks.len() - 1
        });
        index.push(u8::try_from(number).map_err(|_| "more than 256 blocks")?);
    }
    let entries = blocks.concat().iter().flat_map(|entry| entry.to_le_bytes()).collect();
    let version = format!("{}.{}.{}\n", ours.0, ours.1, ours.2).into_bytes();
    Ok(vec![
        ("casemap-index.bin", index),
        ("casemap-entries.bin", entries),
        ("casemap-forms.bin", forms.records),
        ("casemap-forms.txt", forms.text.into_bytes()),
        ("casemap-version.txt", version),
    ])
}

pub(crate) fn write() -> Result<(), String> {
    for (name, octets) in tables()? {
        let path = crate::tables::folder().join(name);
        fs::write(&path, octets).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(())
}

#[derive(Default)]
struct Forms {
    known: HashMap<String, u16>,
    records: Vec<u8>,
    text: String,
}

impl Forms {
    fn entry(&mut self, c: char) -> Result<u16, String> {
        if matches!(c, '\u{ac00}'..='\u{d7a3}') {
            return Ok(0);
        }
        if class(title(c)) != class(c) {
            return Err(format!("{c:?} changes its combining class with its case"));
        }
        let form = form(c);
        if form.chars().eq([c]) {
            return Ok(class(c).into());
        }
        if let Some(entry) = self.known.get(&form) {
            return Ok(*entry);
        }
        let number = self.records.len() / 5;
        let entry = u16::try_from(256 + number).map_err(|_| "too many forms")?;
        let start = u16::try_from(self.text.len()).map_err(|_| "too much text")?;
        self.records.extend(start.to_le_bytes());
        self.records.push(u8::try_from(form.len()).map_err(|_| "a long form")?);
        self.records.extend([form.chars().next(), form.chars().last()].map(|c| c.map_or(0, class)));
        self.text.push_str(&form);
        self.known.insert(form, entry);
        Ok(entry)
    }
}

/// Returns what becomes of a character: mapped and decomposed until nothing changes.
fn form(c: char) -> String {
    let mut form = String::from(c);
    loop {
        let next: String = form.chars().map(title).nfkd().collect();
        if next == form {
            return form;
        }
        form = next;
    }
}

/// Upper case stands for title case: they differ in three digraphs, which fall apart, and in Georgian, whose two cases would
/// be different letters. The iota that is written below would become one that is written beside, and no mark.
fn title(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(upper), None) if c != '\u{345}' => upper,
        _ => c,
    }
}
