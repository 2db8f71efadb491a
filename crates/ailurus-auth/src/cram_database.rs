//! `/etc/cram-md5.pwd`: the shared secrets of CRAM-MD5 and APOP (spec/auth.md §5).
//!
//! A text file, one entry to a line: user, one TAB, secret. The secret is the rest of the line, leading spaces included,
//! and at least one octet long. Lines that start with `#` or TAB, empty lines and lines without a TAB are passed over. CR or
//! LF ends a line. The file is to be owned by root with mode 0400; where it exists, plaintext passwords are checked against
//! it as well, and never against those of the system.
//!
//! The file is read anew for every look-up by whoever owns the files; here are only its octets.

use subtle::ConstantTimeEq;

use crate::SecretOctets;
use crate::cram_md5::SecretLookup;
use crate::entries::{self, Entries, check_entry};
use crate::identity::passwords_to_try;
use crate::password::{Accepted, CheckError, PasswordCheck, Verdict};

pub use crate::entries::EntryError;

/// The secrets of one reading of the file. Wiped from memory when dropped.
#[derive(Clone)]
pub struct CramDatabase {
    entries: Entries,
}

impl CramDatabase {
    /// Takes the octets of the file. Nothing in them is an error: what is no entry is passed over.
    pub fn parse(text: &[u8]) -> Self {
        Self { entries: Entries::new(text) }
    }

    /// Returns the secret of a user: of the first entry of exactly that name, else, if the name has upper-case ASCII
    /// letters, of the first entry whose name is its lower-case form.
    pub fn lookup(&self, user: &[u8]) -> Option<&[u8]> {
        self.entries.of(user).map(|entry| entry.1)
    }

    /// Returns the name of the entry whose secret [`lookup`](Self::lookup) returns: the account that is proven, where
    /// accounts differ in letter case alone.
    pub fn name_of(&self, user: &[u8]) -> Option<&[u8]> {
        self.entries.of(user).map(|entry| entry.0)
    }

    /// Returns the names that have an entry, in the order of the file.
    pub fn users(&self) -> impl Iterator<Item = &[u8]> {
        self.entries.iter().map(|entry| entry.0)
    }
}

impl std::fmt::Debug for CramDatabase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CramDatabase").finish_non_exhaustive()
    }
}

impl SecretLookup for CramDatabase {
    fn secret(&self, user: &[u8]) -> Result<Option<SecretOctets>, CheckError> {
        Ok(self.lookup(user).map(crate::secret))
    }
}

impl PasswordCheck for CramDatabase {
    fn check(&self, user: &[u8], password: &[u8], _rhost: Option<&str>) -> Result<Verdict, CheckError> {
        let secret = self.lookup(user);
        // An unknown user is compared too, with what no password can equal in length and content at once.
        let compared = secret.unwrap_or(b"\0");
        let right = passwords_to_try(password).any(|password| password.ct_eq(compared).into());
        Ok(match secret {
            Some(_) if right => Verdict::Accepted(Accepted::default()),
            Some(_) => Verdict::Refused("wrong password"),
            None => Verdict::Refused("no entry in the CRAM-MD5 database"),
        })
    }
}

/// Changes entries of the file and keeps all else: comments, order, even lines that mean nothing.
///
/// Whoever writes the result does it beside the file, with mode 0400, and renames: a reader sees the old or the new.
#[derive(Clone)]
pub struct CramEditor {
    entries: Entries,
}

impl CramEditor {
    /// Takes the octets of the file as it is.
    pub fn new(text: &[u8]) -> Self {
        Self { entries: Entries::new(text) }
    }

    /// Returns the octets of the file as it should become.
    pub fn text(&self) -> &[u8] {
        self.entries.text()
    }

    /// Gives a user a secret: in place of the first entry of that name (further ones, which no look-up reaches, are
    /// removed), else at the end.
    ///
    /// # Errors
    ///
    /// If such an entry cannot be written down; then nothing is changed.
    pub fn set(&mut self, user: &[u8], secret: &[u8]) -> Result<(), EntryError> {
        check_entry(user, secret)?;
        self.entries.set(user, secret);
        Ok(())
    }

    /// Removes all entries of a user; returns whether there was one.
    pub fn remove(&mut self, user: &[u8]) -> bool {
        self.entries.remove(user)
    }
}

impl std::fmt::Debug for CramEditor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CramEditor").finish_non_exhaustive()
    }
}

/// Returns the lines of the file that look like failed entries, as line numbers from 1, for `ailurus check`: those that
/// are neither empty nor a comment nor an entry.
pub fn suspect_lines(text: &[u8]) -> Vec<usize> {
    entries::suspect_lines(text, |_, _| true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &[u8] = b"# comment\tnot an entry\r\n\
        ada\tadaCRAM\r\n\
        \n\
        no tab here\n\
        ben\t benCRAM\twith tab \n\
        empty\t\n\
        \tnameless\n\
        Eve\tupper\n\
        eve\tlower\n\
        ada\tsecond\n\
        last\tunterminated";

    #[test]
    fn lookup_takes_the_first_entry() {
        let database = CramDatabase::parse(TEXT);
        let lookup = |user: &str| {
            database.lookup(user.as_bytes()).map(|secret| String::from_utf8_lossy(secret).into_owned())
        };
        assert_eq!(lookup("ada").as_deref(), Some("adaCRAM"));
        assert_eq!(lookup("ADA").as_deref(), Some("adaCRAM"));
        assert_eq!(lookup("ben").as_deref(), Some(" benCRAM\twith tab "));
        assert_eq!(lookup("Eve").as_deref(), Some("upper"));
        assert_eq!(lookup("eve").as_deref(), Some("lower"));
        assert_eq!(lookup("EVE").as_deref(), Some("lower"));
        assert_eq!(database.name_of(b"EVE"), Some(&b"eve"[..]));
        assert_eq!(database.name_of(b"Eve"), Some(&b"Eve"[..]));
        assert_eq!(database.name_of(b"nobody"), None);
        assert_eq!(lookup("last").as_deref(), Some("unterminated"));
        for nobody in ["", "empty", "# comment", "no tab here", "ad", "adaa", "comment"] {
            assert_eq!(lookup(nobody), None, "{nobody}");
        }
        let users: Vec<_> = database.users().collect();
        assert_eq!(users, [&b"ada"[..], b"ben", b"Eve", b"eve", b"ada", b"last"]);
    }

    #[test]
    fn plaintext_is_checked_against_it() {
        let database = CramDatabase::parse(TEXT);
        let accepted = |user: &[u8], password: &[u8]| {
            let verdict = database.check(user, password, None).expect("the database is there");
            matches!(verdict, Verdict::Accepted(_))
        };
        assert!(accepted(b"ada", b"adaCRAM"));
        assert!(accepted(b"ADA", b" adaCRAM"));
        assert!(accepted(b"ben", b" benCRAM\twith tab "));
        for (user, password) in [
            (&b"ada"[..], &b""[..]),
            (b"ada", b"second"),
            (b"ada", b"adacram"),
            (b"nobody", b"\0"),
            (b"empty", b""),
        ] {
            assert!(!accepted(user, password), "{}", user.escape_ascii());
        }
    }

    #[test]
    fn the_editor_keeps_what_it_does_not_change() {
        let mut editor = CramEditor::new(TEXT);
        editor.set(b"ada", b"new").expect("a fine entry");
        editor.set(b"zoe", b" spaced").expect("a fine entry");
        assert!(editor.remove(b"eve"));
        assert!(!editor.remove(b"eve"));
        let expected = String::from_utf8_lossy(TEXT)
            .replace("ada\tadaCRAM", "ada\tnew")
            .replace("ada\tsecond\n", "")
            .replace("eve\tlower\n", "")
            + "\nzoe\t spaced\n";
        assert_eq!(String::from_utf8_lossy(editor.text()), expected);
    }

    #[test]
    fn the_editor_begins_a_file() {
        let mut editor = CramEditor::new(b"");
        editor.set(b"ada", b"adapw").expect("a fine entry");
        assert_eq!(editor.text(), b"ada\tadapw\n");
        assert!(editor.remove(b"ada"));
        assert_eq!(editor.text(), b"");
    }

    #[test]
    fn the_editor_refuses_what_could_not_be_read_back() {
        let mut editor = CramEditor::new(TEXT);
        for name in [&b""[..], b"#ada", b":ada", b"a\tb", b"a\nb", b"a\rb", b"a\0b"] {
            assert_eq!(editor.set(name, b"pw"), Err(EntryError::Name), "{}", name.escape_ascii());
        }
        assert_eq!(editor.set(b"ben*postmgr", b"pw"), Err(EntryError::Star));
        for secret in [&b""[..], b"a\nb", b"a\rb", b"a\0b"] {
            assert_eq!(editor.set(b"ada", secret), Err(EntryError::Secret), "{}", secret.escape_ascii());
        }
        assert_eq!(editor.text(), TEXT);
    }

    #[test]
    fn suspect_lines_are_named() {
        assert_eq!(suspect_lines(TEXT), [4, 6, 7]);
        assert_eq!(suspect_lines(b"a\tb\r\n\r\n#\r\nc\r\n"), [4]);
    }

    proptest! {
        #[test]
        fn arbitrary_files_do_not_panic(text: Vec<u8>, user: Vec<u8>) {
            let database = CramDatabase::parse(&text);
            prop_assert!(database.lookup(&user).is_none_or(|secret| !secret.is_empty()));
            prop_assert!(suspect_lines(&text).len() <= text.len());
        }

        #[test]
        fn what_is_set_is_found(text in "([a-c#\t\r\n]{0,40})", user in "[a-c]{1,2}", secret in "[a-c\t ]{1,3}") {
            let mut editor = CramEditor::new(text.as_bytes());
            let others = |text: &[u8]| {
                let database = CramDatabase::parse(text);
                let other = |entry: &(&[u8], &[u8])| entry.0 != user.as_bytes();
                database.entries.iter().filter(other).map(|entry| (entry.0.to_vec(), entry.1.to_vec())).collect::<Vec<_>>()
            };
            editor.set(user.as_bytes(), secret.as_bytes()).expect("a fine entry");
            prop_assert_eq!(others(text.as_bytes()), others(editor.text()));
            let database = CramDatabase::parse(editor.text());
            prop_assert_eq!(database.lookup(user.as_bytes()), Some(secret.as_bytes()));
            editor.remove(user.as_bytes());
            let database = CramDatabase::parse(editor.text());
            prop_assert_eq!(database.lookup(user.as_bytes()), None);
        }
    }
}
