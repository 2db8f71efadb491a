//! UTF-7 (RFC 2152), UTF-32, HZ (RFC 1843), and texts of no known charset.

use crate::tables::take_ascii;
use encoding_rs::{GBK, WINDOWS_1252};

const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;

/// Puts UTF-16 units together.
#[derive(Clone, Copy, Debug, Default)]
struct Units {
    high: Option<u16>,
}

impl Units {
    fn push(&mut self, unit: u16, out: &mut String) {
        let high = self.high.take();
        match (high, unit) {
            (Some(high), 0xdc00..=0xdfff) => {
                let both = [high, unit];
                out.extend(char::decode_utf16(both).map(|c| c.unwrap_or(REPLACEMENT)));
                return;
            }
            (Some(_), _) => out.push(REPLACEMENT),
            (None, _) => {}
        }
        match unit {
            0xd800..=0xdbff => self.high = Some(unit),
            _ => out.push(char::from_u32(unit.into()).unwrap_or(REPLACEMENT)),
        }
    }

    fn end(&mut self, out: &mut String) {
        if self.high.take().is_some() {
            out.push(REPLACEMENT);
        }
    }
}

/// UTF-7. What is not allowed to stand for itself does so all the same; octets of 8 bits mean nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Utf7 {
    /// After `+`; the flag tells whether a digit followed.
    shifted: Option<bool>,
    bits: u32,
    count: u8,
    units: Units,
}

impl Utf7 {
    pub(crate) fn push(&mut self, mut text: &[u8], out: &mut String) {
        while !text.is_empty() {
            if self.shifted.is_none() {
                let (plain, rest) =
                    text.split_at(text.iter().position(|octet| *octet == b'+').unwrap_or(text.len()));
                let mut plain = plain;
                while let Some(rest) = take_ascii(plain, out).split_first().map(|(_, rest)| rest) {
                    out.push(REPLACEMENT);
                    plain = rest;
                }
                text = rest;
                if let Some(rest) = text.strip_prefix(b"+") {
                    self.shifted = Some(false);
                    text = rest;
                }
                continue;
            }
            let Some((&octet, rest)) = text.split_first() else { return };
            match digit(octet) {
                Some(value) => self.digit(value, out),
                None => {
                    let empty = self.shifted == Some(false);
                    self.unshift(out);
                    match octet {
                        b'-' if empty => out.push('+'),
                        b'-' => {}
                        // Not text of this charset: the sign stands for itself.
                        _ if empty => {
                            out.push('+');
                            continue;
                        }
                        _ => continue,
                    }
                }
            }
            text = rest;
        }
    }

    fn digit(&mut self, value: u8, out: &mut String) {
        self.shifted = Some(true);
        self.bits = self.bits << 6 | u32::from(value);
        self.count += 6;
        if self.count >= 16 {
            self.count -= 16;
            let unit = u16::try_from(self.bits >> self.count & 0xffff).unwrap_or(0);
            self.bits &= (1 << self.count) - 1;
            self.units.push(unit, out);
        }
    }

    fn unshift(&mut self, out: &mut String) {
        self.units.end(out);
        *self = Self::default();
    }

    pub(crate) fn finish(mut self, out: &mut String) {
        if self.shifted == Some(false) {
            out.push('+');
        }
        self.unshift(out);
    }
}

fn digit(octet: u8) -> Option<u8> {
    match octet {
        b'A'..=b'Z' => Some(octet - b'A'),
        b'a'..=b'z' => Some(octet - b'a' + 26),
        b'0'..=b'9' => Some(octet - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

/// UTF-32 in either order; a byte order mark decides it and is dropped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Utf32 {
    little: bool,
    started: bool,
    held: [u8; 4],
    length: u8,
}

impl Utf32 {
    pub(crate) fn new(little: bool) -> Self {
        Self { little, started: false, held: [0; 4], length: 0 }
    }

    pub(crate) fn push(&mut self, text: &[u8], out: &mut String) {
        for &octet in text {
            self.held[usize::from(self.length)] = octet;
            self.length = (self.length + 1) % 4;
            if self.length == 0 {
                self.unit(out);
            }
        }
    }

    fn unit(&mut self, out: &mut String) {
        if !std::mem::replace(&mut self.started, true) {
            match self.held {
                [0, 0, 0xfe, 0xff] => return self.little = false,
                [0xff, 0xfe, 0, 0] => return self.little = true,
                _ => {}
            }
        }
        let code = if self.little { u32::from_le_bytes(self.held) } else { u32::from_be_bytes(self.held) };
        out.push(char::from_u32(code).unwrap_or(REPLACEMENT));
    }

    pub(crate) fn finish(self, out: &mut String) {
        if self.length > 0 {
            out.push(REPLACEMENT);
        }
    }
}

/// HZ: ASCII with pairs of GB 2312 between `~{` and `~}`; pairs of 8 bits are read too.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hz {
    chinese: bool,
    tilde: bool,
    lead: Option<u8>,
}

impl Hz {
    pub(crate) fn push(&mut self, mut text: &[u8], out: &mut String) {
        while !text.is_empty() {
            if !self.chinese && !self.tilde && self.lead.is_none() {
                let special =
                    text.iter().position(|octet| matches!(octet, b'~' | 0x80..)).unwrap_or(text.len());
                let (plain, rest) = text.split_at(special);
                out.push_str(str::from_utf8(plain).expect("ASCII is UTF-8"));
                text = rest;
            }
            let Some((&octet, rest)) = text.split_first() else { return };
            text = rest;
            self.octet(octet, out);
        }
    }

    fn octet(&mut self, octet: u8, out: &mut String) {
        if std::mem::take(&mut self.tilde) {
            match octet {
                b'{' => self.chinese = true,
                b'}' => self.chinese = false,
                b'~' => out.push('~'),
                b'\n' | b'\r' if !self.chinese => {}
                _ => {
                    out.push('~');
                    self.octet(octet, out);
                }
            }
            return;
        }
        match (self.lead.take(), octet) {
            (None, b'~') => self.tilde = true,
            (None, 0x80..) => self.lead = Some(octet),
            (None, 0x21..=0x7e) if self.chinese => self.lead = Some(octet),
            (Some(lead), 0x21..=0x7e | 0xa1..=0xfe) => {
                out.push_str(&GBK.decode_without_bom_handling(&[lead | 0x80, octet | 0x80]).0);
            }
            (lead, _) => {
                if lead.is_some() {
                    out.push(REPLACEMENT);
                }
                // A line ends the Chinese text that is on it.
                self.chinese &= octet != b'\n';
                out.push(if octet.is_ascii() { char::from(octet) } else { REPLACEMENT });
            }
        }
    }

    pub(crate) fn finish(self, out: &mut String) {
        if self.tilde {
            out.push('~');
        }
        if self.lead.is_some() {
            out.push(REPLACEMENT);
        }
    }
}

/// A text of no known charset: UTF-8, and octets that are none are characters of windows-1252.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Guess {
    /// The beginning of a character.
    held: [u8; 4],
    length: u8,
}

impl Guess {
    pub(crate) fn push(&mut self, mut text: &[u8], out: &mut String) {
        while self.length > 0 && !text.is_empty() {
            let (&octet, rest) = text.split_first().expect("it is not empty");
            self.held[usize::from(self.length)] = octet;
            self.length += 1;
            text = rest;
            let (held, length) = (self.held, usize::from(self.length));
            let left = guess(&held[..length], out);
            self.keep(left);
        }
        if self.length == 0 {
            let left = guess(text, out);
            self.keep(left);
        }
    }

    fn keep(&mut self, left: &[u8]) {
        let mut held = [0; 4];
        let length = left.len().min(3);
        held[..length].copy_from_slice(&left[..length]);
        self.held = held;
        self.length = u8::try_from(length).unwrap_or(0);
    }

    pub(crate) fn finish(self, out: &mut String) {
        let held = &self.held[..usize::from(self.length)];
        out.push_str(&WINDOWS_1252.decode_without_bom_handling(held).0);
    }
}

/// Appends what octets seem to mean, and returns those at the end which may begin a character.
fn guess<'t>(mut text: &'t [u8], out: &mut String) -> &'t [u8] {
    loop {
        let error = match str::from_utf8(text) {
            Ok(text) => {
                out.push_str(text);
                return &[];
            }
            Err(error) => error,
        };
        let (good, rest) = text.split_at(error.valid_up_to());
        out.push_str(str::from_utf8(good).expect("so far it is"));
        let Some((&octet, after)) = rest.split_first() else { return rest };
        if error.error_len().is_none() {
            return rest;
        }
        let (text_of_octet, _) = WINDOWS_1252.decode_without_bom_handling(std::slice::from_ref(&octet));
        out.push_str(&text_of_octet);
        text = after;
    }
}
