//! The first 2048 octets of a mailbox.

use ailurus_types::{Keyword, Keywords};

/// Octets of the header.
pub(super) const SIZE: usize = 2048;
/// Keyword slots.
pub(super) const SLOTS: usize = 30;

const SIGNATURE: &[u8] = b"*mbx*\r\n";
const VALIDITY: usize = 7;
const UID_LAST: usize = 15;
const KEYWORDS: usize = 25;
/// Where the NUL fill surely is: 30 keywords of 50 octets with their line ends stop before.
pub(super) const FILL: usize = 1600;
const LAST_PID: usize = 2038;

/// A header as read, and as changed since.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Header {
    raw: Box<[u8; SIZE]>,
    pub(super) uid_validity: u32,
    pub(super) uid_last: u32,
    pub(super) keywords: Keywords,
    /// Where the first empty keyword line is, if a slot is left.
    free: Option<usize>,
}

/// What an appender of ours was about to add when it wrote this (see the module comment of `mbx`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Intent {
    /// The size of the file before.
    pub(super) start: u64,
    /// The size of the file after.
    pub(super) end: u64,
    /// The check sum of the octets between, without flags and UIDs.
    pub(super) sum: u64,
}

impl Header {
    /// Returns the header of a new mailbox.
    pub(super) fn new(uid_validity: u32, keywords: &[Keyword]) -> Self {
        let mut raw = Box::new([0; SIZE]);
        raw[..VALIDITY].copy_from_slice(SIGNATURE);
        put_hex(&mut raw[VALIDITY..UID_LAST], uid_validity);
        put_hex(&mut raw[UID_LAST..KEYWORDS - 2], 0);
        raw[KEYWORDS - 2..KEYWORDS].copy_from_slice(b"\r\n");
        for slot in 0..SLOTS {
            let at = KEYWORDS + 2 * slot;
            raw[at..at + 2].copy_from_slice(b"\r\n");
        }
        let mut header =
            Self { raw, uid_validity, uid_last: 0, keywords: Keywords::default(), free: Some(KEYWORDS) };
        for keyword in keywords.iter().take(SLOTS) {
            header.add_keyword(keyword);
        }
        header
    }

    /// Returns the header, or `None` when the octets are none.
    pub(super) fn parse(raw: &[u8]) -> Option<Self> {
        let raw: Box<[u8; SIZE]> = Box::new(*raw.first_chunk::<SIZE>()?);
        if !raw.starts_with(SIGNATURE) || raw[KEYWORDS - 2..KEYWORDS] != *b"\r\n" {
            return None;
        }
        let uid_validity = hex(&raw[VALIDITY..UID_LAST])?;
        let uid_last = hex(&raw[UID_LAST..KEYWORDS - 2])?;
        let (keywords, free) = parse_keywords(&raw[..]);
        Some(Self { raw, uid_validity, uid_last, keywords, free })
    }

    /// Puts together a header of what can be read of one, with what is wrong with it and where. UIDVALIDITY is 0 if it is
    /// lost, or UIDLAST is: then nobody knows which UIDs were given.
    pub(super) fn salvage(octets: &[u8]) -> (Self, Vec<(u64, String)>) {
        let mut faults = Vec::new();
        let mut header = Self::new(0, &[]);
        let known = octets.len().min(SIZE);
        if known < SIZE {
            faults.push((known as u64, format!("the file ends within its header of {SIZE} octets")));
        }
        let mut raw = vec![0; SIZE];
        raw[..known].copy_from_slice(&octets[..known]);
        let lacks = |range: std::ops::Range<usize>, wanted: &[u8]| raw[range] != *wanted;
        if lacks(0..VALIDITY, SIGNATURE) {
            faults.push((0, "the file does not begin with *mbx*".into()));
        }
        if lacks(KEYWORDS - 2..KEYWORDS, b"\r\n") {
            faults.push((KEYWORDS as u64 - 2, "no line end behind UIDVALIDITY and UIDLAST".into()));
        }
        let (validity, last) = (hex(&raw[VALIDITY..UID_LAST]), hex(&raw[UID_LAST..KEYWORDS - 2]));
        if validity.is_none_or(|validity| validity == 0) {
            faults.push((VALIDITY as u64, "no UIDVALIDITY".into()));
        }
        if last.is_none() {
            faults.push((UID_LAST as u64, "no UIDLAST".into()));
        }
        header.raw[KEYWORDS..].copy_from_slice(&raw[KEYWORDS..]);
        header.uid_validity = validity.filter(|_| last.is_some()).unwrap_or(0);
        header.uid_last = last.unwrap_or(0);
        if let Some(offset) = header.salvage_keywords() {
            faults.push((offset as u64, "the list of keywords is damaged".into()));
        }
        header.encode();
        (header, faults)
    }

    /// Reads the list of keywords, and writes it anew if something is wrong with it: returns where.
    fn salvage_keywords(&mut self) -> Option<usize> {
        let (mut names, mut at, mut fault) = (Vec::new(), KEYWORDS, None);
        while names.len() < SLOTS {
            let rest = &self.raw[at..LAST_PID];
            // One of the two octets of a line end can be wrong.
            let is_end = |pair: &[u8]| pair[0] == b'\r' || pair[1] == b'\n' || pair[0] == 0;
            let Some(line) = rest.windows(2).position(is_end) else { break };
            let ending = &rest[line..line + 2];
            if line == 0 && (ending == b"\r\n" || ending[0] == 0) {
                break;
            }
            if ending != b"\r\n" {
                fault = fault.or(Some(at + line));
            }
            let name = std::str::from_utf8(&rest[..line]).ok().filter(|name| {
                name.len() <= Keyword::MAX_LEN && name.bytes().all(|octet| octet.is_ascii_graphic())
            });
            match name.filter(|name| !name.is_empty()) {
                Some(name) => names.push(name.to_owned()),
                None => {
                    fault = fault.or(Some(at));
                    names.push(format!("lost{}", names.len()));
                }
            }
            if ending[0] == 0 {
                break;
            }
            at += line + 2;
        }
        if fault.is_some() {
            let mut lines = names.join("\r\n").into_bytes();
            for _ in names.len()..=SLOTS {
                lines.extend_from_slice(b"\r\n");
            }
            self.raw[KEYWORDS..FILL].fill(0);
            let most = lines.len().min(FILL - KEYWORDS);
            self.raw[KEYWORDS..KEYWORDS + most].copy_from_slice(&lines[..most]);
        }
        (self.keywords, self.free) = parse_keywords(&self.raw[..]);
        fault
    }

    /// Returns LASTPID: whose flag update was the last.
    pub(super) fn last_pid(&self) -> Option<u32> {
        let (digits, end) = self.raw[LAST_PID..].split_at(8);
        hex(digits).filter(|_| end == b"\r\n")
    }

    /// Returns what an appender of ours left behind.
    pub(super) fn intent(&self) -> Option<Intent> {
        let mut words = self.raw[FILL..LAST_PID].split(|octet| *octet == b' ');
        if words.next()? != b"append" {
            return None;
        }
        let mut number = || {
            let word = words.next().filter(|word| word.len() == 16)?;
            Some(u64::from(hex(&word[..8])?) << 32 | u64::from(hex(&word[8..])?))
        };
        Some(Intent { start: number()?, end: number()?, sum: number()? })
    }

    /// Writes an intent, or takes it away. Where another program has filled the place there will be none.
    pub(super) fn set_intent(&mut self, intent: Option<Intent>) {
        let had_one = self.intent().is_some();
        let place = &mut self.raw[FILL..LAST_PID];
        if !had_one && place.iter().any(|octet| *octet != 0) {
            return;
        }
        place.fill(0);
        if let Some(Intent { start, end, sum }) = intent {
            let text = format!("append {start:016x} {end:016x} {sum:016x} ");
            place[..text.len()].copy_from_slice(text.as_bytes());
        }
    }

    /// Returns the slot of a keyword, made if it is new and there is room. It must be written afterwards.
    pub(super) fn add_keyword(&mut self, keyword: &Keyword) -> Option<usize> {
        if let Some(slot) = self.keywords.find(keyword.as_str()) {
            return Some(slot);
        }
        let at = self.free?;
        let slot = self.keywords.push(Some(keyword.clone()), SLOTS).ok()?;
        let mut lines = keyword.as_str().as_bytes().to_vec();
        for _ in slot..SLOTS {
            lines.extend_from_slice(b"\r\n");
        }
        self.raw.get_mut(at..at + lines.len())?.copy_from_slice(&lines);
        self.free = (slot + 1 < SLOTS).then_some(at + keyword.as_str().len() + 2);
        Some(slot)
    }

    /// Tells whether another keyword can be made.
    pub(super) fn has_room(&self) -> bool {
        self.free.is_some()
    }

    /// Returns the octets to write, all of the header.
    pub(super) fn encode(&mut self) -> &[u8; SIZE] {
        put_hex(&mut self.raw[VALIDITY..UID_LAST], self.uid_validity);
        put_hex(&mut self.raw[UID_LAST..KEYWORDS - 2], self.uid_last);
        &self.raw
    }

    /// Sets LASTPID.
    pub(super) fn set_last_pid(&mut self, pid: u32) {
        put_hex(&mut self.raw[LAST_PID..LAST_PID + 8], pid);
        self.raw[LAST_PID + 8..].copy_from_slice(b"\r\n");
    }
}

/// Reads keywords up to the first empty line; a word too long to be a keyword takes its slot all the same.
fn parse_keywords(raw: &[u8]) -> (Keywords, Option<usize>) {
    let (mut keywords, mut at) = (Keywords::default(), KEYWORDS);
    while keywords.len() < SLOTS {
        let rest = &raw[at..LAST_PID];
        let line = rest.iter().take_while(|octet| !matches!(octet, b'\r' | 0)).count();
        if line == 0 {
            let room = 2 * (SLOTS - keywords.len()) + Keyword::MAX_LEN;
            return (keywords, (at + room <= FILL).then_some(at));
        }
        if rest.get(line..line + 2) != Some(b"\r\n") {
            return (keywords, None);
        }
        if keywords.push(Keyword::from_disk(&rest[..line]), SLOTS).is_err() {
            return (keywords, None);
        }
        at += line + 2;
    }
    (keywords, None)
}

/// Returns the value of hexadecimal digits in any letter case; there must be nothing else.
pub(super) fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0u32, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}

/// Fills the place with lower-case digits.
pub(super) fn put_hex(place: &mut [u8], value: u32) {
    for (position, digit) in place.iter_mut().rev().enumerate() {
        let nibble = value.checked_shr(u32::try_from(position * 4).unwrap_or(u32::MAX)).unwrap_or(0) & 0xf;
        *digit = b"0123456789abcdef"[nibble as usize];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_fill_the_slots_and_leave_the_rest_alone() {
        let work = Keyword::new(b"Work").unwrap();
        let mut header = Header::new(0x67c2_f6c0, std::slice::from_ref(&work));
        header.set_last_pid(0xabc);
        header.set_intent(Some(Intent { start: 1, end: 1 << 40, sum: u64::MAX }));
        for n in 1..SLOTS {
            let long = format!("{n:050}");
            assert_eq!(header.add_keyword(&Keyword::new(long.as_bytes()).unwrap()), Some(n));
        }
        assert_eq!(header.add_keyword(&Keyword::new(b"more").unwrap()), None);
        assert_eq!(header.add_keyword(&Keyword::new(b"wORK").unwrap()), Some(0));
        let again = Header::parse(&header.encode()[..]).unwrap();
        assert_eq!(again.keywords, header.keywords);
        assert!(!again.has_room());
        assert_eq!(again.last_pid(), Some(0xabc));
        assert_eq!(again.intent(), Some(Intent { start: 1, end: 1 << 40, sum: u64::MAX }));
    }

    #[test]
    fn an_intent_does_not_write_over_what_others_put_there() {
        let mut header = Header::new(1, &[]);
        header.raw[FILL + 5] = b'x';
        header.set_intent(Some(Intent { start: 1, end: 2, sum: 3 }));
        assert_eq!(header.intent(), None);
        assert_eq!(header.raw[FILL + 5], b'x');
    }
}
