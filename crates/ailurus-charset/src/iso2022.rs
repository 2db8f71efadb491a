//! ISO-2022-JP, -KR, -CN and their extensions, by one decoder: any escape sequence may stand in any of them.
//!
//! What is known: ASCII, the British and Japanese forms of it, half-width kana; JIS X 0208 (1978, 1983; 0213 as far as it
//! is the same), JIS X 0212, GB 2312 (ISO-IR-165 as far as it is the same), KS C 5601, CNS 11643 planes 1 and 2; the
//! halves of ISO 8859 and VISCII as sets of 96. G0 to G3, locking shifts (SI, SO, LS2, LS3 and those to the right) and
//! single shifts (SS2, SS3). Nothing ends with a line: writers that break a text within a shift are more common than those
//! who rely on it. Pairs go through the EUC tables of `encoding_rs`, with their highest bits set.

use crate::tables::{Set94, Single, take_ascii};
use encoding_rs::{EUC_JP, EUC_KR, Encoding, GBK, WINDOWS_1252};

/// What SO leads to where the text does not say it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Shifted {
    Kana,
    Korean,
    Chinese,
}

/// A set of graphic characters.
#[derive(Clone, Copy, Debug)]
enum Set {
    Ascii,
    British,
    JisRoman,
    Kana,
    /// The upper half of a charset, as 96 characters.
    Half(&'static Encoding),
    Viscii,
    /// Pairs that `encoding_rs` decodes.
    Pairs(&'static Encoding),
    /// JIS X 0212.
    Jis0212,
    Table(Set94),
    /// Pairs of an unknown set.
    UnknownPairs,
}

impl Set {
    fn is_pairs(self) -> bool {
        matches!(self, Self::Pairs(_) | Self::Jis0212 | Self::Table(_) | Self::UnknownPairs)
    }
}

/// The longest escape sequence that means something, without its ESC.
const MAX_ESCAPE: usize = 4;

const ESC: u8 = 0x1b;

#[derive(Clone, Debug)]
pub(crate) struct Iso2022 {
    sets: [Set; 4],
    /// Which of the sets the octets from 0x21 and from 0xA0 on are of.
    left: u8,
    right: u8,
    /// The set of the next character alone.
    single: Option<u8>,
    /// The first octet of a pair, and its set.
    lead: Option<(u8, Set)>,
    /// An escape sequence that is not complete, and its length with the ESC.
    escape: [u8; MAX_ESCAPE],
    escape_length: u8,
}

impl Iso2022 {
    pub(crate) fn new(shifted: Shifted) -> Self {
        let g1 = match shifted {
            Shifted::Kana => Set::Kana,
            Shifted::Korean => Set::Pairs(EUC_KR),
            Shifted::Chinese => Set::Pairs(GBK),
        };
        Self {
            sets: [Set::Ascii, g1, Set::Half(WINDOWS_1252), Set::Half(WINDOWS_1252)],
            left: 0,
            right: 1,
            single: None,
            lead: None,
            escape: [0; MAX_ESCAPE],
            escape_length: 0,
        }
    }

    pub(crate) fn push(&mut self, mut text: &[u8], out: &mut String) {
        while let Some((&octet, rest)) = text.split_first() {
            if self.escape_length == 0 && self.lead.is_none() && self.single.is_none() {
                let set = self.sets[usize::from(self.left)];
                let after = match set {
                    Set::Ascii => take_plain(text, out),
                    Set::Pairs(_) | Set::Jis0212 => take_pairs(set, text, out),
                    _ => text,
                };
                if after.len() < text.len() {
                    text = after;
                    continue;
                }
            }
            text = rest;
            self.octet(octet, out);
        }
    }

    pub(crate) fn finish(mut self, out: &mut String) {
        self.drop_escape(out);
        self.drop_lead(out);
    }

    fn octet(&mut self, octet: u8, out: &mut String) {
        if self.escape_length > 0 {
            return self.escape_octet(octet, out);
        }
        match octet {
            ESC => {
                self.drop_lead(out);
                self.escape_length = 1;
            }
            0x0e => self.left = 1,
            0x0f => self.left = 0,
            0x8e | 0x19 => self.single = Some(2),
            0x8f | 0x1d => self.single = Some(3),
            0..=0x20 | 0x7f => {
                self.drop_lead(out);
                self.single = None;
                out.push(char::from(octet));
            }
            0x80..=0x9f => {
                self.drop_lead(out);
                out.push(char::REPLACEMENT_CHARACTER);
            }
            _ => self.graphic(octet, out),
        }
    }

    fn graphic(&mut self, octet: u8, out: &mut String) {
        if let Some((lead, set)) = self.lead.take() {
            return push_pair(set, lead, octet, out);
        }
        let shift = if octet.is_ascii() { self.left } else { self.right };
        let set = self.sets[usize::from(self.single.take().unwrap_or(shift))];
        if set.is_pairs() {
            self.lead = Some((octet, set));
        } else {
            push_single(set, octet, out);
        }
    }

    /// Takes an octet after ESC: intermediate ones up to the one that ends the sequence.
    fn escape_octet(&mut self, octet: u8, out: &mut String) {
        let length = usize::from(self.escape_length) - 1;
        match self.escape.get_mut(length) {
            Some(place) if matches!(octet, 0x20..=0x7e) => *place = octet,
            _ => {
                self.drop_escape(out);
                return self.octet(octet, out);
            }
        }
        self.escape_length += 1;
        if matches!(octet, 0x30..) {
            if self.obey(length + 1) {
                self.escape_length = 0;
            } else {
                self.drop_escape(out);
            }
        }
    }

    /// Does what a complete sequence says, unless it is unknown.
    fn obey(&mut self, length: usize) -> bool {
        match self.escape[..length] {
            [b'N'] => self.single = Some(2),
            [b'O'] => self.single = Some(3),
            [b'n'] => self.left = 2,
            [b'o'] => self.left = 3,
            [b'~'] => self.right = 1,
            [b'}'] => self.right = 2,
            [b'|'] => self.right = 3,
            // What follows is a newer version of a set.
            [b'&', _] => {}
            [b'$', set] => self.sets[0] = pairs(set),
            [b'$', place @ b'('..=b'+', set] => self.sets[usize::from(place - b'(')] = pairs(set),
            [place @ b'('..=b'+', set] => self.sets[usize::from(place - b'(')] = set_of_94(set),
            [place @ b'-'..=b'/', set] => self.sets[usize::from(place - b',')] = set_of_96(set),
            _ => return false,
        }
        true
    }

    /// Passes a sequence that means nothing on as it stands.
    fn drop_escape(&mut self, out: &mut String) {
        let Some(length) = usize::from(self.escape_length).checked_sub(1) else { return };
        self.escape_length = 0;
        out.push(char::from(ESC));
        out.extend(self.escape.iter().take(length).map(|&octet| char::from(octet)));
    }

    fn drop_lead(&mut self, out: &mut String) {
        if self.lead.take().is_some() {
            out.push(char::REPLACEMENT_CHARACTER);
        }
    }
}

fn pairs(set: u8) -> Set {
    match set {
        b'@' | b'B' | b'O' | b'Q' => Set::Pairs(EUC_JP),
        b'A' | b'E' => Set::Pairs(GBK),
        b'C' => Set::Pairs(EUC_KR),
        b'D' => Set::Jis0212,
        b'G' => Set::Table(Set94::Cns1),
        b'H' => Set::Table(Set94::Cns2),
        _ => Set::UnknownPairs,
    }
}

fn set_of_94(set: u8) -> Set {
    match set {
        b'A' => Set::British,
        // H stands for it by an old mistake.
        b'J' | b'H' => Set::JisRoman,
        b'I' => Set::Kana,
        _ => Set::Ascii,
    }
}

fn set_of_96(set: u8) -> Set {
    Set::Half(match set {
        b'B' => encoding_rs::ISO_8859_2,
        b'C' => encoding_rs::ISO_8859_3,
        b'D' => encoding_rs::ISO_8859_4,
        b'F' => encoding_rs::ISO_8859_7,
        b'G' => encoding_rs::ISO_8859_6,
        b'H' => encoding_rs::ISO_8859_8,
        b'L' => encoding_rs::ISO_8859_5,
        b'M' => encoding_rs::WINDOWS_1254,
        b'T' => encoding_rs::WINDOWS_874,
        b'V' => encoding_rs::ISO_8859_10,
        b'Y' => encoding_rs::ISO_8859_13,
        b'Z' => return Set::Viscii,
        b'_' => encoding_rs::ISO_8859_14,
        b'b' => encoding_rs::ISO_8859_15,
        b'f' => encoding_rs::ISO_8859_16,
        _ => WINDOWS_1252,
    })
}

fn push_single(set: Set, octet: u8, out: &mut String) {
    let low = octet & 0x7f;
    match set {
        Set::British if low == b'#' => out.push('£'),
        Set::JisRoman if low == b'\\' => out.push('¥'),
        Set::JisRoman if low == b'~' => out.push('‾'),
        Set::Kana => match low {
            0x21..=0x5f => out.extend(char::from_u32(0xff40 + u32::from(low))),
            _ => out.push(char::REPLACEMENT_CHARACTER),
        },
        Set::Half(encoding) => decode_few(encoding, &[low | 0x80], out),
        Set::Viscii => Single::VISCII.decode(&[low | 0x80], out),
        _ if octet.is_ascii() => out.push(char::from(octet)),
        _ => out.push(char::REPLACEMENT_CHARACTER),
    }
}

fn push_pair(set: Set, lead: u8, trail: u8, out: &mut String) {
    match set {
        Set::Pairs(encoding) => decode_few(encoding, &[lead | 0x80, trail | 0x80], out),
        Set::Jis0212 => decode_few(EUC_JP, &[0x8f, lead | 0x80, trail | 0x80], out),
        Set::Table(table) => out.push(table.meaning(lead, trail)),
        _ => out.push(char::REPLACEMENT_CHARACTER),
    }
}

/// Takes what stands for itself from the start of a text whose characters are ASCII, and returns the rest.
fn take_plain<'t>(text: &'t [u8], out: &mut String) -> &'t [u8] {
    let special = |octet: &u8| matches!(*octet, 0x0e | 0x0f | 0x19 | ESC | 0x1d | 0x80..);
    let end = text.iter().position(special).unwrap_or(text.len());
    let (plain, rest) = text.split_at(end);
    let odd = take_ascii(plain, out);
    debug_assert!(odd.is_empty());
    rest
}

/// How many pairs are decoded at a time.
const PAIRS: usize = 64;

/// Takes pairs of a set from the start of a text, and returns the rest.
fn take_pairs<'t>(set: Set, text: &'t [u8], out: &mut String) -> &'t [u8] {
    let mut rest = text;
    loop {
        let mut euc = [0; 3 * PAIRS];
        let mut length = 0;
        for _ in 0..PAIRS {
            let [lead @ 0x21..=0x7e, trail @ 0x21..=0x7e, after @ ..] = rest else { break };
            if matches!(set, Set::Jis0212) {
                euc[length] = 0x8f;
                length += 1;
            }
            euc[length] = lead | 0x80;
            euc[length + 1] = trail | 0x80;
            length += 2;
            rest = after;
        }
        let encoding = match set {
            Set::Pairs(encoding) => encoding,
            _ => EUC_JP,
        };
        if length == 0 {
            return rest;
        }
        decode_few(encoding, &euc[..length], out);
    }
}

/// Decodes whole characters.
fn decode_few(encoding: &'static Encoding, mut octets: &[u8], out: &mut String) {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let mut buffer = [0; 3 * 3 * PAIRS + 16];
    while !octets.is_empty() {
        let (_result, read, written, _) = decoder.decode_to_utf8(octets, &mut buffer, true);
        out.push_str(str::from_utf8(&buffer[..written]).expect("a decoder writes UTF-8"));
        octets = &octets[read..];
        if read == 0 {
            return;
        }
    }
}
