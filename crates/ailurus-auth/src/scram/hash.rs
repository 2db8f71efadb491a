//! The two hash functions that SCRAM is used with, and what it builds of them (RFC 5802 §2.2).

use hmac::{Hmac, KeyInit, Mac};
use sha1::{Digest, Sha1};
use sha2::Sha256;
use zeroize::Zeroizing;

/// A hash function of SCRAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// SHA-1, for clients that know no other: HMAC does not need what is broken of it.
    Sha1,
    /// SHA-256 (RFC 7677).
    Sha256,
}

/// Octets that are as good as a password, or nearly.
pub(crate) type Key = Zeroizing<Vec<u8>>;

impl Hash {
    /// Both, the better one first.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha1];

    /// Returns the name of the mechanism that uses it, which is that of the scheme in files (RFC 5803) as well.
    #[must_use]
    pub fn mechanism(self) -> &'static str {
        match self {
            Self::Sha1 => "SCRAM-SHA-1",
            Self::Sha256 => "SCRAM-SHA-256",
        }
    }

    /// Returns how many octets it makes.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// Returns `H(octets)`.
    pub(crate) fn digest(self, octets: &[u8]) -> Key {
        Zeroizing::new(match self {
            Self::Sha1 => Sha1::digest(octets).to_vec(),
            Self::Sha256 => Sha256::digest(octets).to_vec(),
        })
    }

    /// Returns `HMAC(key, octets)`.
    pub(crate) fn hmac(self, key: &[u8], octets: &[u8]) -> Key {
        match self {
            Self::Sha1 => mac::<Hmac<Sha1>>(key, octets),
            Self::Sha256 => mac::<Hmac<Sha256>>(key, octets),
        }
    }

    /// Returns `Hi(password, salt, iterations)`, which is PBKDF2 with one block.
    pub(crate) fn salted_password(self, password: &[u8], salt: &[u8], iterations: u32) -> Key {
        match self {
            Self::Sha1 => salted::<Hmac<Sha1>>(password, salt, iterations),
            Self::Sha256 => salted::<Hmac<Sha256>>(password, salt, iterations),
        }
    }
}

fn keyed<M: Mac + KeyInit>(key: &[u8]) -> M {
    <M as KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length")
}

fn mac<M: Mac + KeyInit>(key: &[u8], octets: &[u8]) -> Key {
    let mut mac = keyed::<M>(key);
    mac.update(octets);
    Zeroizing::new(mac.finalize().into_bytes().to_vec())
}

fn salted<M: Mac + KeyInit + Clone>(password: &[u8], salt: &[u8], iterations: u32) -> Key {
    // The key is prepared once: half of the work of each round.
    let keyed = keyed::<M>(password);
    let mut mac = keyed.clone();
    mac.update(salt);
    mac.update(&1u32.to_be_bytes());
    let mut last = mac.finalize().into_bytes();
    let mut sum = Zeroizing::new(last.to_vec());
    for _ in 1..iterations {
        let mut mac = keyed.clone();
        mac.update(&last);
        last = mac.finalize().into_bytes();
        for (sum, octet) in sum.iter_mut().zip(&last) {
            *sum ^= octet;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_6070_examples() {
        let hex = |key: Key| key.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
        let salted = |iterations| hex(Hash::Sha1.salted_password(b"password", b"salt", iterations));
        assert_eq!(salted(1), "0c60c80f961f0e71f3a9b524af6012062fe037a6");
        assert_eq!(salted(2), "ea6c014dc72d6f8ccd1ed92ace1d41f0d8de8957");
        assert_eq!(salted(4096), "4b007901b765489abead49d926f721d065a429c1");
        let key = hex(Hash::Sha256.salted_password(b"password", b"salt", 4096));
        assert_eq!(
            key, "c5e478d59288c841aa530db6845c4c8d962893a001ce4e11a4963873aa98134a",
            "as Python's hashlib has it"
        );
    }
}
