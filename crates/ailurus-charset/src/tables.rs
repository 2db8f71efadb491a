//! Tables of charsets that `encoding_rs` does not have.
//!
//! They are facts asked of glibc's iconv and of perl's Encode: `cargo run -p xtask -- tables` asks them again. Each is an
//! array of numbers of 16 bits, least significant octet first: what the octet, or the pair of octets, is in Unicode, 0 for
//! nothing.

/// A charset of one octet.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Single {
    /// Of the octets from 0x80 on, or of all.
    table: &'static [u8],
}

macro_rules! singles {
    ($($name:ident $file:literal)*) => {
        impl Single {
            $(pub(crate) const $name: Self = Self { table: include_bytes!(concat!("../tables/", $file, ".bin")) };)*
        }
    };
}

singles! {
    ARMSCII_8 "armscii-8" ECMA_CYRILLIC "ecma-cyrillic" GEORGIAN_ACADEMY "georgian-academy" GEORGIAN_PS "georgian-ps"
    HP_ROMAN8 "hp-roman8" IBM1125 "ibm1125" IBM437 "ibm437" IBM737 "ibm737" IBM775 "ibm775" IBM850 "ibm850"
    IBM852 "ibm852" IBM855 "ibm855" IBM856 "ibm856" IBM857 "ibm857" IBM858 "ibm858" IBM860 "ibm860" IBM861 "ibm861"
    IBM862 "ibm862" IBM863 "ibm863" IBM864 "ibm864" IBM865 "ibm865" IBM869 "ibm869" KOI8_RU "koi8-ru" KOI8_T "koi8-t"
    MAC_ARABIC "mac-arabic" MAC_CE "mac-ce" MAC_CROATIAN "mac-croatian" MAC_FARSI "mac-farsi" MAC_GREEK "mac-greek"
    MAC_HEBREW "mac-hebrew" MAC_ICELANDIC "mac-icelandic" MAC_ROMANIAN "mac-romanian" MAC_SAMI "mac-sami"
    MAC_TURKISH "mac-turkish" NEXTSTEP "nextstep" PT154 "pt154" RK1048 "rk1048" TCVN "tcvn" VISCII "viscii"
}

impl Single {
    /// Appends what octets mean.
    pub(crate) fn decode(&self, mut text: &[u8], out: &mut String) {
        let full = self.table.len() == 512;
        while !text.is_empty() {
            if !full {
                text = take_ascii(text, out);
            }
            let foreign = text.iter().position(|octet| octet.is_ascii() && !full).unwrap_or(text.len());
            let (run, rest) = text.split_at(foreign);
            out.extend(run.iter().map(|&octet| self.meaning(octet, full)));
            text = rest;
        }
    }

    fn meaning(&self, octet: u8, full: bool) -> char {
        let at = if full { octet } else { octet & 0x7f };
        match lookup(self.table, at.into()) {
            None if octet.is_ascii() => char::from(octet),
            meaning => meaning.unwrap_or(char::REPLACEMENT_CHARACTER),
        }
    }
}

/// Appends the ASCII at the start of a text, and returns the rest.
pub(crate) fn take_ascii<'t>(text: &'t [u8], out: &mut String) -> &'t [u8] {
    let (plain, rest) = text.split_at(encoding_rs::Encoding::ascii_valid_up_to(text));
    out.push_str(str::from_utf8(plain).expect("ASCII is UTF-8"));
    rest
}

/// A charset of two octets, in 94 rows of 94.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Set94 {
    Gb12345,
    Cns1,
    Cns2,
}

static GB12345: &[u8; 94 * 94 * 2] = include_bytes!("../tables/gb12345.bin");
static CNS1: &[u8; 94 * 94 * 2] = include_bytes!("../tables/cns11643-1.bin");
static CNS2: &[u8; 94 * 94 * 2] = include_bytes!("../tables/cns11643-2.bin");

impl Set94 {
    /// Returns the character of a pair, each from 0x21 on or the same with its highest bit set.
    pub(crate) fn meaning(self, row: u8, cell: u8) -> char {
        let table: &[u8] = match self {
            Self::Gb12345 => GB12345,
            Self::Cns1 => CNS1,
            Self::Cns2 => CNS2,
        };
        let position =
            |octet: u8| usize::from(octet & 0x7f).checked_sub(0x21).filter(|position| *position < 94);
        let at = position(row).and_then(|row| Some(row * 94 + position(cell)?));
        at.and_then(|at| lookup(table, at)).unwrap_or(char::REPLACEMENT_CHARACTER)
    }
}

fn lookup(table: &[u8], at: usize) -> Option<char> {
    let pair = table.get(at * 2..at * 2 + 2)?;
    let meaning = u16::from_le_bytes([pair[0], pair[1]]);
    if meaning == 0 { None } else { char::from_u32(meaning.into()) }
}

/// A charset of ASCII and pairs with their highest bits set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Pairs {
    Gb12345,
    /// EUC-TW: pairs are of plane 1, after 0x8E and the plane's number of any.
    EucTw,
}

/// Decodes a charset of pairs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PairDecoder {
    pairs: Pairs,
    /// The octets of a character that is not complete.
    held: [u8; 3],
    length: u8,
}

impl PairDecoder {
    pub(crate) fn new(pairs: Pairs) -> Self {
        Self { pairs, held: [0; 3], length: 0 }
    }

    pub(crate) fn push(&mut self, mut text: &[u8], out: &mut String) {
        while !text.is_empty() {
            if self.length == 0 {
                text = take_ascii(text, out);
            }
            let Some((&octet, rest)) = text.split_first() else { return };
            text = rest;
            self.octet(octet, out);
        }
    }

    fn octet(&mut self, octet: u8, out: &mut String) {
        const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;
        let is_trail = matches!(octet, 0xa1..=0xfe);
        let meaning = match (self.length, self.held) {
            (0, _) if octet == 0x8e && self.pairs == Pairs::EucTw => return self.hold(octet),
            (0, _) if is_trail => return self.hold(octet),
            (0, _) => REPLACEMENT,
            (1, [0x8e, ..]) if is_trail => return self.hold(octet),
            (2, _) if is_trail => return self.hold(octet),
            (1, [row, ..]) if is_trail => self.set(0xa1).map_or(REPLACEMENT, |set| set.meaning(row, octet)),
            (3, [_, plane, row]) if is_trail => {
                self.set(plane).map_or(REPLACEMENT, |set| set.meaning(row, octet))
            }
            _ => {
                self.length = 0;
                out.push(REPLACEMENT);
                if octet.is_ascii() {
                    out.push(char::from(octet));
                }
                return;
            }
        };
        self.length = 0;
        out.push(meaning);
    }

    fn set(&self, plane: u8) -> Option<Set94> {
        match (self.pairs, plane) {
            (Pairs::Gb12345, _) => Some(Set94::Gb12345),
            (Pairs::EucTw, 0xa1) => Some(Set94::Cns1),
            (Pairs::EucTw, 0xa2) => Some(Set94::Cns2),
            (Pairs::EucTw, _) => None,
        }
    }

    fn hold(&mut self, octet: u8) {
        if let Some(held) = self.held.get_mut(usize::from(self.length)) {
            *held = octet;
            self.length += 1;
        }
    }

    pub(crate) fn finish(self, out: &mut String) {
        if self.length > 0 {
            out.push(char::REPLACEMENT_CHARACTER);
        }
    }
}
