//! APOP (RFC 1939 §7): the client proves that it knows a shared secret by the MD5 digest of the greeting's timestamp and the
//! secret.
//!
//! MD5 is no longer fit for this: who can answer in the server's place learns the first octets of a secret from chosen
//! timestamps (RFC 6151, CVE-2007-1558). It is there for clients that have nothing better, where the administrator has made
//! the database.

use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

use crate::cram_md5::{SecretLookup, to_hex};
use crate::identity::Identity;
use crate::mechanism::Failure;

/// The most octets of the host's name in a timestamp.
const MAX_HOST: usize = 64;

/// Returns a timestamp for the greeting, `<NONCE.COUNT@HOST>` with hexadecimal numbers, less than 128 octets.
///
/// COMPAT(ipop3d): the original has its process id and the time there, which a second connection can have as well.
#[must_use]
pub fn challenge(nonce: u64, count: u64, host: &str) -> String {
    let end = host.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= MAX_HOST).last();
    format!("<{nonce:x}.{count:x}@{}>", &host[..end.unwrap_or(0)])
}

/// Checks the proof of a user; the digest is in lower-case hexadecimal. `Ok` is who has proven to be whom.
///
/// # Errors
///
/// [`Failure::WrongProof`] or [`Failure::NoSecrets`], which count as a failed login.
pub fn check<S: SecretLookup>(
    challenge: &str,
    name: &[u8],
    digest: &[u8],
    secrets: &S,
) -> Result<Identity, Failure> {
    let identity = Identity::parse_star(name);
    let Ok(secret) = secrets.secret(&identity.authcid) else {
        return Err(Failure::NoSecrets(identity));
    };
    // A name without a secret costs what any other costs.
    let (known, secret) = match secret {
        Some(secret) if !secret.expose().is_empty() => (true, secret),
        _ => (false, crate::secret(b"no such user")),
    };
    let proof = Md5::new().chain_update(challenge).chain_update(secret.expose().as_slice()).finalize();
    let right: bool = to_hex(&proof.into()).ct_eq(digest).into();
    if known && right { Ok(identity) } else { Err(Failure::WrongProof(identity)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CramDatabase;

    #[test]
    fn rfc_1939_example() {
        let secrets = CramDatabase::parse(b"mrose\ttanstaaf\n");
        let challenge = "<1896.697170952@dbc.mtview.ca.us>";
        let digest = b"c4c9334bac560ecc979e58001b3e22fb";
        assert_eq!(check(challenge, b"mrose", digest, &secrets), Ok(Identity::parse_star(b"mrose")));
        let wrong = Err(Failure::WrongProof(Identity::parse_star(b"mrose")));
        assert_eq!(check("<1897.697170952@dbc.mtview.ca.us>", b"mrose", digest, &secrets), wrong);
        assert_eq!(check(challenge, b"mrose", &digest.to_ascii_uppercase(), &secrets), wrong, "upper case");
        assert_eq!(check(challenge, b"mrose", b"", &secrets), wrong);
        assert!(check(challenge, b"nobody", digest, &secrets).is_err());
    }

    /// fixtures/transcripts/cram-md5-apop.txt
    #[test]
    fn a_session_of_the_original() {
        let secrets = CramDatabase::parse(b"ada\tadaCRAM\n");
        let digest = b"05caf3edd8794cb562b8f3ee939008fd";
        let identity = check("<86.6b042e0e@mail.example.test>", b"ada", digest, &secrets);
        assert_eq!(identity, Ok(Identity::parse_star(b"ada")));
    }

    #[test]
    fn timestamps() {
        assert_eq!(challenge(0x86, 1, "mail.example.test"), "<86.1@mail.example.test>");
        assert!(challenge(u64::MAX, u64::MAX, &"long.".repeat(100)).len() < 128);
        assert_eq!(challenge(1, 1, &"é".repeat(40)), format!("<1.1@{}>", "é".repeat(32)));
    }
}
