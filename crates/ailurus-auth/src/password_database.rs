//! `/etc/ailurus.passwd`: verifiers of passwords for SCRAM, which serve for passwords in plaintext as well.
//!
//! A text file of entries as the [CRAM-MD5 database](crate::cram_database) has them: user, one TAB, and one or two
//! [verifiers](crate::scram::Verifier) with a space between. What is no verifier that we know is passed over, and kept. The
//! entry `:salts` is nobody's: it holds the key, in base64, from which the salts of users are made up who do not exist, so
//! that a stranger who asks twice gets the same one and learns nothing. The file is to be owned by root with mode 0400 or 0600:
//! a password cannot be read out of it, but guesses can be tried.
//!
//! The file is read anew for every look-up by whoever owns the files; here are only its octets.

use crate::entries::{self, Entries, EntryError, check_entry};
use crate::identity::passwords_to_try;
use crate::password::{Accepted, CheckError, PasswordCheck, Verdict};
use crate::scram::{Found, Hash, ITERATIONS, SALT, Verifier, VerifierLookup};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// The entry of the key of made-up salts. No user's name has a colon.
const SALTS: &[u8] = b":salts";

/// The verifiers of one reading of the file.
#[derive(Clone)]
pub struct PasswordDatabase {
    entries: Entries,
}

impl PasswordDatabase {
    /// Takes the octets of the file. Nothing in them is an error: what is no entry is passed over.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        Self { entries: Entries::new(text) }
    }

    /// Returns the name of a user's entry: of the first of exactly that name, else, if the name has upper-case ASCII letters,
    /// of the first whose name is its lower-case form.
    #[must_use]
    pub fn name_of(&self, user: &[u8]) -> Option<&[u8]> {
        self.entry_of(user).map(|entry| entry.0)
    }

    /// Returns the names that have an entry, in the order of the file.
    pub fn users(&self) -> impl Iterator<Item = &[u8]> {
        self.entries.iter().map(|entry| entry.0).filter(|name| is_user(name))
    }

    /// Returns whether made-up salts have a key of their own.
    #[must_use]
    pub fn has_salt_key(&self) -> bool {
        self.salt_key().is_some()
    }

    fn entry_of(&self, user: &[u8]) -> Option<(&[u8], &[u8])> {
        self.entries.of(user).filter(|entry| is_user(entry.0))
    }

    fn salt_key(&self) -> Option<Zeroizing<Vec<u8>>> {
        let (_, text) = self.entries.exactly(SALTS)?;
        STANDARD.decode(text).ok().map(Zeroizing::new).filter(|key| key.len() >= SALT)
    }

    /// Returns what an unknown user is asked with. Without a key, the first user's verifier stands in for it.
    fn made_up(&self, user: &[u8], hash: Hash) -> Verifier {
        let verifiers = |hash| self.entries.iter().find_map(move |(_, value)| verifier(value, hash));
        let stand_in = || verifiers(Hash::Sha256).map(|verifier| verifier.stored_key).unwrap_or_default();
        let key = self.salt_key().unwrap_or_else(stand_in);
        let make = |what: &str| {
            let text = [what.as_bytes(), b" ", hash.mechanism().as_bytes(), b" ", &user.to_ascii_lowercase()];
            Hash::Sha256.hmac(&key, &text.concat())
        };
        let size = hash.size();
        Verifier {
            hash,
            // Where all verifiers were made by us, all have the same; else, as the first.
            iterations: verifiers(hash).map_or(ITERATIONS, |verifier| verifier.iterations),
            salt: make("salt")[..SALT].to_vec(),
            stored_key: Zeroizing::new(make("stored key")[..size].to_vec()),
            server_key: Zeroizing::new(make("server key")[..size].to_vec()),
        }
    }
}

fn is_user(name: &[u8]) -> bool {
    !name.starts_with(b":")
}

/// Returns the verifier of an entry for a hash function.
fn verifier(value: &[u8], hash: Hash) -> Option<Verifier> {
    value.split(|&octet| octet == b' ').filter_map(Verifier::parse).find(|verifier| verifier.hash == hash)
}

impl VerifierLookup for PasswordDatabase {
    fn verifier(&self, user: &[u8], hash: Hash) -> Result<Found, CheckError> {
        let own = self.entry_of(user).and_then(|(_, value)| verifier(value, hash));
        Ok(match own {
            Some(verifier) => Found { verifier, known: true },
            None => Found { verifier: self.made_up(user, hash), known: false },
        })
    }
}

impl PasswordCheck for PasswordDatabase {
    fn check(&self, user: &[u8], password: &[u8], _rhost: Option<&str>) -> Result<Verdict, CheckError> {
        let of = |hash| self.verifier(user, hash).map(|found| found.known.then_some(found.verifier));
        let own = match of(Hash::Sha256)? {
            Some(verifier) => Some(verifier),
            None => of(Hash::Sha1)?,
        };
        let known = own.is_some();
        // A user without a verifier costs what any other costs.
        let verifier = own.unwrap_or_else(|| self.made_up(user, Hash::Sha256));
        let right = passwords_to_try(password).any(|password| verifier.is_password(password));
        Ok(match known {
            true if right => Verdict::Accepted(Accepted::default()),
            true => Verdict::Refused("wrong password"),
            false => Verdict::Refused("no verifier in the password database"),
        })
    }
}

impl std::fmt::Debug for PasswordDatabase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PasswordDatabase").finish_non_exhaustive()
    }
}

/// Changes entries of the file and keeps all else.
///
/// Whoever writes the result does it beside the file, for nobody else to read, and renames.
#[derive(Clone)]
pub struct PasswordEditor {
    entries: Entries,
}

impl PasswordEditor {
    /// Takes the octets of the file as it is.
    #[must_use]
    pub fn new(text: &[u8]) -> Self {
        Self { entries: Entries::new(text) }
    }

    /// Returns the octets of the file as it should become.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        self.entries.text()
    }

    /// Checks that a user can have this password, before anybody computes.
    ///
    /// # Errors
    ///
    /// If such an entry cannot be written down.
    pub fn check(user: &[u8], password: &[u8]) -> Result<(), EntryError> {
        check_entry(user, password)
    }

    /// Gives a user verifiers of a password, for both hash functions; `random` are two salts, and the key of made-up salts if
    /// the file has none yet. Verifiers of schemes that are not known here go, since they are of another password.
    ///
    /// # Errors
    ///
    /// If such an entry cannot be written down; then nothing is changed.
    pub fn set(&mut self, user: &[u8], password: &[u8], random: [[u8; SALT]; 4]) -> Result<(), EntryError> {
        check_entry(user, password)?;
        let [salt, other, key @ ..] = random;
        if !PasswordDatabase::parse(self.text()).has_salt_key() {
            self.entries.set(SALTS, Zeroizing::new(STANDARD.encode(key.concat())).as_bytes());
        }
        let [better, older] = Hash::ALL;
        let verifiers = [Verifier::make(better, password, salt), Verifier::make(older, password, other)];
        let [better, older] = verifiers.map(|verifier| verifier.text());
        self.entries.set(user, Zeroizing::new(format!("{} {}", *better, *older)).as_bytes());
        Ok(())
    }

    /// Removes all entries of a user; returns whether there was one.
    pub fn remove(&mut self, user: &[u8]) -> bool {
        is_user(user) && self.entries.remove(user)
    }
}

impl std::fmt::Debug for PasswordEditor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PasswordEditor").finish_non_exhaustive()
    }
}

/// Returns the numbers (from 1) of lines with which nobody can log in, though they are neither empty nor a comment.
#[must_use]
pub fn suspect_lines(text: &[u8]) -> Vec<usize> {
    entries::suspect_lines(text, |name, value| {
        !is_user(name) || Hash::ALL.into_iter().any(|hash| verifier(value, hash).is_some())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn random(seed: u8) -> [[u8; SALT]; 4] {
        [[seed; SALT], [seed + 1; SALT], [seed + 2; SALT], [seed + 3; SALT]]
    }

    fn database() -> PasswordEditor {
        let mut editor = PasswordEditor::new(b"# ours\nzoe\tARGON2$unknown\n");
        editor.set(b"ada", b"adapw", random(1)).expect("a fine entry");
        editor.set(b"Eve", b"upper", random(11)).expect("a fine entry");
        editor.set(b"eve", b"lower", random(21)).expect("a fine entry");
        editor
    }

    #[test]
    fn passwords_are_recognised() {
        let database = PasswordDatabase::parse(database().text());
        let accepted = |user: &[u8], password: &[u8]| {
            let verdict = database.check(user, password, None).expect("the database is there");
            matches!(verdict, Verdict::Accepted(_))
        };
        assert!(accepted(b"ada", b"adapw") && accepted(b"ADA", b" adapw"));
        assert!(accepted(b"Eve", b"upper") && accepted(b"eve", b"lower") && accepted(b"EVE", b"lower"));
        for (user, password) in [
            (&b"ada"[..], &b""[..]),
            (b"ada", b"adapw2"),
            (b"zoe", b"x"),
            (b"nobody", b"x"),
            (b":salts", b"x"),
        ] {
            assert!(!accepted(user, password), "{}", user.escape_ascii());
        }
        let users: Vec<_> = database.users().collect();
        assert_eq!(users, [&b"zoe"[..], b"ada", b"Eve", b"eve"]);
        assert_eq!(database.name_of(b"EVE"), Some(&b"eve"[..]));
        assert_eq!(database.name_of(b":salts"), None);
    }

    #[test]
    fn unknown_users_have_a_salt_that_stays() {
        let mut editor = database();
        let ask = |editor: &PasswordEditor, user: &[u8], hash| {
            let found = PasswordDatabase::parse(editor.text()).verifier(user, hash).expect("there");
            (found.known, found.verifier.salt.clone(), found.verifier.iterations, found)
        };
        let (known, salt, iterations, found) = ask(&editor, b"nobody", Hash::Sha256);
        assert!(!known && salt.len() == SALT && iterations == ITERATIONS);
        assert!(Verifier::parse(found.verifier.text().as_bytes()).is_some(), "as good as any");
        assert_eq!(ask(&editor, b"NOBODY", Hash::Sha256).1, salt);
        assert_ne!(ask(&editor, b"nobody2", Hash::Sha256).1, salt);
        assert_ne!(ask(&editor, b"nobody", Hash::Sha1).1, salt);
        assert!(!ask(&editor, b"zoe", Hash::Sha256).0);
        editor.set(b"ada", b"another", random(31)).expect("a fine entry");
        assert_eq!(ask(&editor, b"nobody", Hash::Sha256).1, salt, "whatever others do");
        assert!(ask(&editor, b"ada", Hash::Sha1).0);
        // A file that somebody has made without a key.
        let text = String::from_utf8(editor.text().to_vec()).expect("text");
        let without: String =
            text.lines().filter(|l| !l.starts_with(':')).map(|l| format!("{l}\n")).collect();
        let without = PasswordDatabase::parse(without.as_bytes());
        assert!(!without.has_salt_key());
        let twice = [(); 2].map(|()| without.verifier(b"nobody", Hash::Sha1).expect("there"));
        assert_eq!(twice[0], twice[1]);
        assert!(!PasswordDatabase::parse(b"").verifier(b"nobody", Hash::Sha1).expect("there").known);
    }

    #[test]
    fn the_editor_keeps_what_it_does_not_change() {
        let mut editor = database();
        let before = String::from_utf8(editor.text().to_vec()).expect("text");
        assert!(before.starts_with("# ours\nzoe\tARGON2$unknown\n:salts\t"), "{before}");
        assert!(editor.remove(b"eve") && !editor.remove(b"eve") && !editor.remove(b":salts"));
        let after = String::from_utf8(editor.text().to_vec()).expect("text");
        assert_eq!(
            before.lines().filter(|line| !line.starts_with("eve\t")).collect::<Vec<_>>(),
            after.lines().collect::<Vec<_>>()
        );
        for name in [&b""[..], b"#ada", b":ada", b"a\tb", b"a\nb"] {
            assert_eq!(editor.set(name, b"pw", random(1)), Err(EntryError::Name), "{}", name.escape_ascii());
        }
        assert_eq!(editor.set(b"ben*postmgr", b"pw", random(1)), Err(EntryError::Star));
        assert_eq!(editor.set(b"ada", b"", random(1)), Err(EntryError::Secret));
        assert_eq!(editor.text(), after.as_bytes());
        assert_eq!(suspect_lines(editor.text()), [2]);
    }

    proptest! {
        #[test]
        fn arbitrary_files_do_not_panic(text: Vec<u8>, user: Vec<u8>) {
            let database = PasswordDatabase::parse(&text);
            prop_assert!(!database.verifier(&user, Hash::Sha1).expect("no file").known);
            prop_assert!(suspect_lines(&text).len() <= text.len());
        }
    }
}
