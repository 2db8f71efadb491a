//! CRAM-MD5 (RFC 2195): the client proves that it knows a shared secret by the HMAC-MD5 of a challenge.

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use subtle::ConstantTimeEq;

use crate::SecretOctets;
use crate::identity::Identity;
use crate::mechanism::{
    Advertised, Authorization, Failure, InitialResponse, Mechanism, Needs, Outcome, Plaintext, Properties,
    Step,
};
use crate::password::CheckError;

pub(crate) const PROPERTIES: Properties = Properties {
    name: "CRAM-MD5",
    plaintext: Plaintext::No,
    advertised: Advertised::Always,
    initial_response: InitialResponse::Forbidden,
    authorization: Authorization::Star,
    needs: Needs::SharedSecrets,
};

/// Where shared secrets come from.
pub trait SecretLookup {
    /// Returns the secret of a user, `None` if there is none.
    ///
    /// # Errors
    ///
    /// If the secrets cannot be read.
    fn secret(&self, user: &[u8]) -> Result<Option<SecretOctets>, CheckError>;
}

/// The server side of CRAM-MD5.
#[derive(Debug)]
pub struct CramMd5<S> {
    challenge: Vec<u8>,
    secrets: S,
    finished: bool,
}

/// Returns a challenge, `<NONCE.TIME@HOST>` with decimal numbers.
///
/// COMPAT(imapd): the original puts its process id where we take a random `nonce`: two exchanges of one process within a
/// second would have the same challenge, and a proof heard once could be replayed. `time` is in seconds since 1970.
pub fn challenge(nonce: u64, time: u64, host: &str) -> Vec<u8> {
    format!("<{nonce}.{time}@{host}>").into_bytes()
}

impl<S: SecretLookup> CramMd5<S> {
    /// Begins an exchange with a challenge that was never used before (see [`challenge`]).
    pub fn new(challenge: Vec<u8>, secrets: S) -> Self {
        Self { challenge, secrets, finished: false }
    }

    /// Checks `user SP digest`. The last space divides, since names may contain spaces; the digest is lower-case hex.
    fn check(&self, response: &[u8]) -> Step {
        let Some(space) = response.iter().rposition(|&byte| byte == b' ') else {
            return Step::Failed(Failure::Malformed);
        };
        let (name, digest) = response.split_at(space);
        let digest = digest.strip_prefix(b" ").unwrap_or(digest);
        if name.is_empty() || name.contains(&0) {
            return Step::Failed(Failure::Malformed);
        }
        let identity = Identity::parse_star(name);
        let Ok(secret) = self.secrets.secret(&identity.authcid) else {
            return Step::Failed(Failure::NoSecrets(identity));
        };
        // A name without a secret costs what any other costs.
        let (known, secret) = match secret {
            Some(secret) if !secret.expose().is_empty() => (true, secret),
            _ => (false, crate::secret(b"no such user")),
        };
        let right: bool = hmac_md5_hex(secret.expose(), &self.challenge).ct_eq(digest).into();
        if known && right {
            Step::Done(Outcome::Verified(identity))
        } else {
            Step::Failed(Failure::WrongProof(identity))
        }
    }
}

impl<S: SecretLookup + Send> Mechanism for CramMd5<S> {
    fn start(&mut self, initial: Option<&[u8]>) -> Step {
        if initial.is_some() {
            self.finished = true;
            return Step::Failed(Failure::InitialResponse);
        }
        Step::Challenge(self.challenge.clone())
    }

    fn step(&mut self, response: &[u8]) -> Step {
        if std::mem::replace(&mut self.finished, true) {
            return Step::Failed(Failure::Finished);
        }
        self.check(response)
    }
}

/// Returns the HMAC-MD5 (RFC 2104) of a text as 32 lower-case hexadecimal digits.
fn hmac_md5_hex(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Md5>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text);
    to_hex(&mac.finalize().into_bytes().into())
}

pub(crate) fn to_hex(digest: &[u8; 16]) -> [u8; 32] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hex = [0; 32];
    for (pair, byte) in hex.chunks_exact_mut(2).zip(digest) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    hex
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cram_database::CramDatabase;
    use crate::encoding::{Response, decode_response};

    const DATABASE: &[u8] =
        b"ada\tadaCRAM\npostmgr\tmgrCRAM\nben\tbenCRAM\nghost\tghostCRAM\ntim\ttanstaaftanstaaf\n";

    fn exchange(challenge: &str, response: &[u8]) -> Step {
        let mut cram = CramMd5::new(challenge.into(), CramDatabase::parse(DATABASE));
        assert_eq!(cram.start(None), Step::Challenge(challenge.into()));
        cram.step(response)
    }

    fn decoded(line: &[u8]) -> Vec<u8> {
        match decode_response(line) {
            Ok(Response::Data(data)) => data.expose().to_vec(),
            other => panic!("{other:?}"),
        }
    }

    fn verified(name: &[u8]) -> Step {
        Step::Done(Outcome::Verified(Identity::parse_star(name)))
    }

    #[test]
    fn rfc_2195_example() {
        let challenge = "<1896.697170952@postoffice.reston.mci.net>";
        assert_eq!(exchange(challenge, b"tim b913a602c7eda7a495b4e6e7334d3890"), verified(b"tim"));
    }

    #[test]
    fn rfc_2104_examples() {
        let hex = |key: &[u8], text: &[u8]| String::from_utf8(hmac_md5_hex(key, text).to_vec()).expect("hex");
        assert_eq!(hex(&[0x0b; 16], b"Hi There"), "9294727a3638bb1c13f48ef8158bfc9d");
        assert_eq!(hex(b"Jefe", b"what do ya want for nothing?"), "750c783e6ab0b503eaa86e310a5db738");
        assert_eq!(hex(&[0xaa; 16], &[0xdd; 50]), "56be34521d144c88dbb8c733f0e8b3f6");
        // RFC 2202 §2, test case 6: a key longer than a block is hashed first.
        let text = b"Test Using Larger Than Block-Size Key - Hash Key First";
        assert_eq!(hex(&[0xaa; 80], text), "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd");
    }

    #[test]
    fn sessions_of_the_original() {
        // fixtures/transcripts/cram-md5-apop.txt
        let proof = decoded(b"YWRhIDYzNTE2ZWI0ODA1MDAxMDVjYzAyMWIwNTc3MjgzMDI1");
        assert_eq!(exchange("<129.1795436024@mail.example.test>", &proof), verified(b"ada"));
        let proof = decoded(b"QURBIDMxZGNlYWM3MmE3N2Y5ZGY5N2Q3YWM2YTFmMjZiOWY0");
        assert_eq!(exchange("<130.1795436024@mail.example.test>", &proof), verified(b"ADA"));
        let proof = decoded(b"YmVuKnBvc3RtZ3IgYmUxMTMzNzRjNDU1ZmJlMDE1NzM2MTdlOTIzYWU0NDA=");
        assert_eq!(exchange("<132.1795436040@mail.example.test>", &proof), verified(b"ben*postmgr"));
        let proof = decoded(b"YWRhIDFkZTFlYWVkZTA4NDBhNmI1YmMzNjYzODM1ZWQ1Njkx");
        let wrong = Step::Failed(Failure::WrongProof(Identity::parse_star(b"ada")));
        assert_eq!(exchange("<131.1795436027@mail.example.test>", &proof), wrong);
    }

    #[test]
    fn wrong_proofs_and_unknown_names_fail_alike() {
        let challenge = "<1896.697170952@postoffice.reston.mci.net>";
        let wrong = |name: &[u8]| Step::Failed(Failure::WrongProof(Identity::parse_star(name)));
        assert_eq!(exchange(challenge, b"tim b913a602c7eda7a495b4e6e7334d3891"), wrong(b"tim"));
        assert_eq!(exchange(challenge, b"tim B913A602C7EDA7A495B4E6E7334D3890"), wrong(b"tim"), "upper case");
        assert_eq!(exchange(challenge, b"tim b913a602"), wrong(b"tim"));
        assert_eq!(exchange(challenge, b"tim "), wrong(b"tim"));
        assert_eq!(exchange(challenge, b"nobody b913a602c7eda7a495b4e6e7334d3890"), wrong(b"nobody"));
        // The stand-in secret of unknown names opens nothing.
        let stand_in = [b"nobody ", &hmac_md5_hex(b"no such user", challenge.as_bytes())[..]].concat();
        assert_eq!(exchange(challenge, &stand_in), wrong(b"nobody"));
    }

    #[test]
    fn malformed_responses_fail() {
        for bad in
            [&b""[..], b"tim", b" b913a602c7eda7a495b4e6e7334d3890", b"t\0m b913a602c7eda7a495b4e6e7334d3890"]
        {
            assert_eq!(exchange("<1.2@h>", bad), Step::Failed(Failure::Malformed), "{}", bad.escape_ascii());
        }
        let mut cram = CramMd5::new(challenge(7, 9, "h"), CramDatabase::parse(b""));
        assert_eq!(cram.start(Some(b"AAA")), Step::Failed(Failure::InitialResponse));
        assert_eq!(cram.step(b"ada 0"), Step::Failed(Failure::Finished));
    }

    #[test]
    fn a_name_may_contain_spaces() {
        let database = CramDatabase::parse(b"ada lovelace\tsecret\n");
        let mut cram = CramMd5::new(challenge(7, 9, "h"), database);
        assert_eq!(cram.start(None), Step::Challenge(b"<7.9@h>".to_vec()));
        let response = [b"ada lovelace ", &hmac_md5_hex(b"secret", b"<7.9@h>")[..]].concat();
        assert_eq!(cram.step(&response), verified(b"ada lovelace"));
    }

    proptest! {
        #[test]
        fn arbitrary_responses_do_not_panic(response: Vec<u8>) {
            prop_assert!(matches!(exchange("<1.2@h>", &response), Step::Failed(_)));
        }
    }
}
