//! What a server keeps of a password: enough to recognise it, and not enough to log in with elsewhere (RFC 5802 §2.2).
//!
//! In writing, as RFC 5803 (and PostgreSQL) has it: `SCRAM-SHA-256$10000:salt$StoredKey:ServerKey`, three of these in base64.

use super::hash::{Hash, Key};
use super::prepare;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The iterations of new verifiers. Telephones have to do them; RFC 7677 asks for 4096 at least.
pub const ITERATIONS: u32 = 10_000;
/// Fewer protect nothing.
const FEWEST: u32 = 4096;
/// More would keep a server busy for seconds with every password, and the clients too.
const MOST: u32 = 1_000_000;
/// The octets of a new salt.
pub const SALT: usize = 16;
/// Salts of other programs are no longer.
const LONGEST_SALT: usize = 256;

/// A verifier of one password for one hash function.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    pub(crate) hash: Hash,
    pub(crate) iterations: u32,
    pub(crate) salt: Vec<u8>,
    pub(crate) stored_key: Key,
    pub(crate) server_key: Key,
}

impl Verifier {
    /// Makes a verifier with the usual number of iterations. The salt must be random and new.
    #[must_use]
    pub fn make(hash: Hash, password: &[u8], salt: [u8; SALT]) -> Self {
        Self::with(hash, password, &salt, ITERATIONS)
    }

    pub(crate) fn with(hash: Hash, password: &[u8], salt: &[u8], iterations: u32) -> Self {
        let salted = hash.salted_password(&prepare::password(password), salt, iterations);
        let client_key = hash.hmac(&salted, b"Client Key");
        Self {
            hash,
            iterations,
            salt: salt.to_vec(),
            stored_key: hash.digest(&client_key),
            server_key: hash.hmac(&salted, b"Server Key"),
        }
    }

    /// Returns the hash function.
    #[must_use]
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// Returns whether this is the password.
    #[must_use]
    pub fn is_password(&self, password: &[u8]) -> bool {
        let other = Self::with(self.hash, password, &self.salt, self.iterations);
        other.stored_key.ct_eq(&self.stored_key[..]).into()
    }

    /// Reads a verifier; `None` if it is none that can be used: another scheme, or numbers out of bounds.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let hash = Hash::ALL
            .into_iter()
            .find(|hash| text.strip_prefix(hash.mechanism()).is_some_and(|rest| rest.starts_with('$')))?;
        let mut parts = text[hash.mechanism().len() + 1..].split('$');
        let (how, keys) = (parts.next()?, parts.next()?);
        let (iterations, salt) = how.split_once(':')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        let digits = iterations.bytes().all(|octet| octet.is_ascii_digit());
        let iterations = iterations.parse().ok().filter(|n| digits && (FEWEST..=MOST).contains(n))?;
        let key = |text: &str| {
            STANDARD.decode(text).ok().map(Zeroizing::new).filter(|key| key.len() == hash.size())
        };
        let salt = STANDARD.decode(salt).ok().filter(|salt| (1..=LONGEST_SALT).contains(&salt.len()))?;
        let verifier =
            Self { hash, iterations, salt, stored_key: key(stored_key)?, server_key: key(server_key)? };
        parts.next().is_none().then_some(verifier)
    }

    /// Writes the verifier.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        let encode = |octets: &[u8]| Zeroizing::new(STANDARD.encode(octets));
        Zeroizing::new(format!(
            "{}${}:{}${}:{}",
            self.hash.mechanism(),
            self.iterations,
            *encode(&self.salt),
            *encode(&self.stored_key),
            *encode(&self.server_key)
        ))
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Verifier({}, {} iterations)", self.hash.mechanism(), self.iterations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read() {
        for hash in Hash::ALL {
            let verifier = Verifier::with(hash, b"pencil", b"salt", FEWEST);
            let read = Verifier::parse(verifier.text().as_bytes()).expect("as written");
            assert_eq!(read, verifier);
            assert!(read.is_password(b"pencil") && !read.is_password(b"pencils"));
            assert!(!format!("{read:?}").contains("salt"));
        }
    }

    /// As `SELECT rolpassword FROM pg_authid` shows the password `pencil` with the salt of RFC 7677.
    #[test]
    fn the_form_is_that_of_postgresql() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
        let verifier = Verifier::with(Hash::Sha256, b"pencil", &salt, 4096);
        let text = verifier.text();
        let start = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$";
        assert!(text.starts_with(start), "{}", *text);
        assert_eq!(text.len(), start.len() + 44 + 1 + 44);
    }

    #[test]
    fn what_cannot_be_used_is_none() {
        let good = Verifier::with(Hash::Sha1, b"x", b"salt", FEWEST).text().to_string();
        assert!(Verifier::parse(good.as_bytes()).is_some());
        let (keys, long) = (good.rsplit_once('$').expect("keys").1, STANDARD.encode([0; 300]));
        for bad in [
            String::new(),
            "SCRAM-SHA-1".into(),
            good.replace("SHA-1", "SHA-512"),
            good.replace("4096", "4095"),
            good.replace("4096", "+4096"),
            good.replace("4096", "1000001"),
            good.replace("4096", "99999999999999999999"),
            good.replace("4096:", "4096:!"),
            format!("SCRAM-SHA-1$4096:${keys}"),
            format!("SCRAM-SHA-1$4096:{long}${keys}"),
            good.replace("SHA-1", "SHA-256"),
            format!("{good}$"),
            format!("{good}:"),
        ] {
            assert_eq!(Verifier::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_octets_do_not_panic(text: Vec<u8>) {
            drop(Verifier::parse(&text));
        }

        #[test]
        fn arbitrary_fields_do_not_panic(text in "SCRAM-SHA-(1|256)[$:A-Z0-9=]{0,120}") {
            drop(Verifier::parse(text.as_bytes()));
        }
    }
}
