//! `.mixmeta`: what is true of the mailbox as a whole.
//!
//! ```text
//! S67c2f6c8 CR LF           update sequence
//! V67c2f6c0 CR LF           UIDVALIDITY
//! L00000004 CR LF           UIDLAST
//! N67c2f6c0 CR LF           the data file that takes new messages
//! KWork $Forwarded CR LF    keywords by slot; there only if there are any
//! ```
//!
//! What can be read of a damaged file is read, and what cannot is said. Lines that we do not know are kept behind the
//! others, although the reference refuses a mailbox that has some.

use super::text::{hex, push_hex};
use ailurus_types::{Keyword, Keywords, UidValidity};

/// The reference takes no larger file.
pub(super) const MOST: u64 = 1024 * 1024 - 1;
/// Keyword slots.
pub(super) const SLOTS: usize = 30;

/// The file as read, and as changed since.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Meta {
    pub(super) seq: u64,
    pub(super) uid_validity: UidValidity,
    pub(super) uid_last: u32,
    pub(super) new_file: u32,
    pub(super) keywords: Keywords,
    /// The words of the K line as they are in the file; some need not be keywords.
    words: Vec<Vec<u8>>,
    unknown: Vec<Vec<u8>>,
}

/// What could be read.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Readable {
    pub(super) seq: Option<u64>,
    pub(super) uid_validity: Option<UidValidity>,
    pub(super) uid_last: Option<u32>,
    pub(super) new_file: Option<u32>,
    words: Vec<Vec<u8>>,
    unknown: Vec<Vec<u8>>,
    /// A line does not end in CRLF: the reference refuses the mailbox, and nothing is lost by writing it anew.
    pub(super) is_unfinished: bool,
}

impl Readable {
    pub(super) fn parse(raw: &[u8]) -> Self {
        let mut found = Self::default();
        // NULs are left where the file was to be made longer.
        let end = raw.iter().rposition(|octet| *octet != 0).map_or(0, |last| last + 1);
        for line in raw[..end].split_inclusive(|octet| *octet == b'\n') {
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            found.is_unfinished |= line.len() != text.len() + 2;
            found.take(text);
        }
        found
    }

    fn take(&mut self, line: &[u8]) {
        let Some((key, value)) = line.split_first() else { return };
        let short = || hex(value).and_then(|value| u32::try_from(value).ok());
        match key {
            b'S' => self.seq = hex(value),
            b'V' => self.uid_validity = short().and_then(UidValidity::new),
            b'L' => self.uid_last = short(),
            b'N' => self.new_file = short(),
            b'K' => {
                // A word for each slot; one that is not there, as between two spaces, leaves it empty.
                let words = value.strip_suffix(b" ").unwrap_or(value).split(|octet| *octet == b' ');
                self.words = words.map(<[u8]>::to_vec).collect();
                if self.words.iter().all(Vec::is_empty) {
                    self.words.clear();
                }
            }
            _ => self.unknown.push(line.into()),
        }
    }

    /// Returns the whole file, if nothing of it is missing.
    pub(super) fn whole(self) -> Option<Meta> {
        let Self {
            seq: Some(seq),
            uid_validity: Some(validity),
            uid_last: Some(last),
            new_file: Some(new),
            ..
        } = self
        else {
            return None;
        };
        Some(self.with(seq, validity, last, new))
    }

    /// Returns the file with these in place of what is missing.
    pub(super) fn with(self, seq: u64, uid_validity: UidValidity, uid_last: u32, new_file: u32) -> Meta {
        let mut meta = Meta {
            seq,
            uid_validity,
            uid_last,
            new_file,
            keywords: Keywords::default(),
            words: self.words,
            unknown: self.unknown,
        };
        meta.know_words();
        meta
    }

    /// The fault of a file that lacks something, in the reference's words.
    pub(super) fn fault(&self) -> &'static str {
        if self.seq.is_none() {
            "Error in mix metadata file sequence record"
        } else if self.uid_validity.is_none() {
            "Error in mix metadata file UIDVALIDITY record"
        } else if self.uid_last.is_none() {
            "Error in mix metadata file UIDLAST record"
        } else {
            "Error in mix metadata file new msg record"
        }
    }
}

impl Meta {
    /// Returns the file of a new mailbox, whose numbers all come from the time.
    pub(super) fn new(uid_validity: UidValidity, keywords: &[Keyword]) -> Self {
        let mut meta =
            Readable::default().with(uid_validity.get().into(), uid_validity, 0, uid_validity.get());
        for keyword in keywords.iter().take(SLOTS) {
            meta.words.push(keyword.as_str().as_bytes().to_vec());
        }
        meta.know_words();
        meta
    }

    fn know_words(&mut self) {
        self.keywords = Keywords::default();
        for word in self.words.iter().take(SLOTS) {
            if self.keywords.push(Keyword::from_disk(word), SLOTS).is_err() {
                break;
            }
        }
    }

    /// Returns the slot of a keyword, made if it is new and there is room. It must be written afterwards.
    pub(super) fn add_keyword(&mut self, keyword: &Keyword) -> Option<usize> {
        if let Some(slot) = self.keywords.find(keyword.as_str()) {
            return Some(slot);
        }
        let slot = self.keywords.push(Some(keyword.clone()), SLOTS).ok()?;
        self.words.push(keyword.as_str().as_bytes().to_vec());
        Some(slot)
    }

    /// Gives each slot up to this one a name, where it has none: messages have its bit, and the name is lost.
    pub(super) fn name_lost_keywords(&mut self, slots: usize) {
        while self.words.len() < slots.min(SLOTS) {
            let name = format!("lost{}", self.words.len());
            self.words.push(name.into_bytes());
        }
        self.know_words();
    }

    /// Tells whether another keyword can be made.
    pub(super) fn has_room(&self) -> bool {
        self.words.len() < SLOTS
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        let (validity, last) = (self.uid_validity.get(), self.uid_last);
        for (key, value) in
            [(b'S', self.seq), (b'V', validity.into()), (b'L', last.into()), (b'N', self.new_file.into())]
        {
            out.push(key);
            push_hex(value, &mut out);
            out.extend_from_slice(b"\r\n");
        }
        if !self.words.is_empty() {
            out.push(b'K');
            out.extend_from_slice(&self.words.join(&b' '));
            out.extend_from_slice(b"\r\n");
        }
        for line in &self.unknown {
            out.extend_from_slice(line);
            out.extend_from_slice(b"\r\n");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(raw: &[u8]) -> Meta {
        Readable::parse(raw).whole().unwrap()
    }

    const PLAIN: &[u8] = b"S67c2f6c8\r\nV67c2f6c0\r\nL00000004\r\nN67c2f6c1\r\n";

    #[test]
    fn what_was_read_is_written() {
        for more in ["", "KWork $Forwarded\r\n", "Kfoo  bar\r\n", "Ka\r\nXfuture\r\nY\r\n", "K \r\n"] {
            let raw = [PLAIN, more.as_bytes()].concat();
            let meta = parse(&raw);
            let wanted = if more == "K \r\n" { PLAIN } else { &raw };
            assert_eq!(meta.encode(), wanted, "{more}");
        }
        let meta = parse(PLAIN);
        assert_eq!((meta.seq, meta.uid_last, meta.new_file), (0x67c2_f6c8, 4, 0x67c2_f6c1));
        assert_eq!(meta.uid_validity.get(), 0x67c2_f6c0);
    }

    #[test]
    fn a_last_line_without_its_end_is_read_and_ends_when_written() {
        let raw = [PLAIN, b"Kfoo bar"].concat();
        let found = Readable::parse(&raw);
        assert!(found.is_unfinished && !Readable::parse(PLAIN).is_unfinished);
        let meta = found.whole().unwrap();
        assert_eq!(meta.keywords.find("bar"), Some(1));
        assert_eq!(meta.encode(), [&raw[..], b"\r\n"].concat());
        let lf: Vec<u8> = PLAIN.iter().copied().filter(|octet| *octet != b'\r').collect();
        assert_eq!(Readable::parse(&lf).whole().unwrap().encode(), PLAIN);
    }

    #[test]
    fn nuls_at_the_end_are_nothing() {
        assert_eq!(parse(&[PLAIN, &[0; 40]].concat()), parse(PLAIN));
        assert_eq!(Readable::parse(&[0; 44]).whole(), None);
    }

    #[test]
    fn empty_slots_keep_their_place() {
        let mut meta = parse(&[PLAIN, b"Kfoo  bar\r\n"].concat());
        assert_eq!(meta.keywords.find("bar"), Some(2));
        assert_eq!(meta.add_keyword(&Keyword::new(b"new").unwrap()), Some(3));
        assert_eq!(meta.add_keyword(&Keyword::new(b"BAR").unwrap()), Some(2));
        assert!(meta.encode().ends_with(b"Kfoo  bar new\r\n"));
    }

    #[test]
    fn keywords_stop_at_the_last_slot() {
        let mut meta = parse(PLAIN);
        for n in 0..SLOTS {
            assert!(meta.has_room());
            assert_eq!(meta.add_keyword(&Keyword::new(format!("k{n}").as_bytes()).unwrap()), Some(n));
        }
        assert!(!meta.has_room());
        assert_eq!(meta.add_keyword(&Keyword::new(b"more").unwrap()), None);
        assert_eq!(parse(&meta.encode()), meta);
    }

    #[test]
    fn what_is_missing_is_said() {
        for (raw, fault) in [
            (&b""[..], "Error in mix metadata file sequence record"),
            (b"S1\r\nVx\r\nL1\r\nN1\r\n", "Error in mix metadata file UIDVALIDITY record"),
            (b"S1\r\nV0\r\nL1\r\nN1\r\n", "Error in mix metadata file UIDVALIDITY record"),
            (b"S1\r\nV1\r\nN1\r\n", "Error in mix metadata file UIDLAST record"),
            (b"S1\r\nV1\r\nL1\r\nN100000000\r\n", "Error in mix metadata file new msg record"),
        ] {
            let found = Readable::parse(raw);
            assert_eq!(found.fault(), fault);
            assert_eq!(found.whole(), None);
        }
    }

    #[test]
    fn lost_keywords_get_names() {
        let mut meta = parse(PLAIN);
        meta.name_lost_keywords(2);
        assert!(meta.encode().ends_with(b"Klost0 lost1\r\n"));
        meta.name_lost_keywords(1);
        assert_eq!(meta.keywords.len(), 2);
    }

    #[test]
    fn a_new_mailbox_has_the_references_octets() {
        let validity = UidValidity::new(0x67c2_f6c0).unwrap();
        assert_eq!(
            Meta::new(validity, &[]).encode(),
            b"S67c2f6c0\r\nV67c2f6c0\r\nL00000000\r\nN67c2f6c0\r\n"
        );
        let keywords = ["foo", "bar"].map(|name| Keyword::new(name.as_bytes()).unwrap());
        assert!(Meta::new(validity, &keywords).encode().ends_with(b"Kfoo bar\r\n"));
    }
}
