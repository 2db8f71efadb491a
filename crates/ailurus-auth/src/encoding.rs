//! The base64 layer between protocol and mechanism (RFC 3501 §6.2.2, RFC 4959, RFC 5034).

use ailurus_types::Secret;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use zeroize::Zeroizing;

use crate::{SecretOctets, secret};

/// A client's answer to a challenge. It may hold a password.
#[derive(Debug, PartialEq, Eq)]
pub enum Response {
    /// The decoded octets; may be empty.
    Data(SecretOctets),
    /// The client gave up (`*`).
    Cancelled,
}

/// Why a response cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Other characters than base64 and at most two `=` at the end: the argument itself is wrong
    /// (IMAP `BAD Missing or invalid argument`).
    #[error("not base64")]
    Syntax,
    /// The right characters, but no encoding of anything (a length that is no multiple of 4): the exchange fails.
    #[error("incomplete base64")]
    Incomplete,
}

/// Decodes the initial response that came with the command, without its line end (SASL-IR, RFC 4959 §3).
///
/// A lone `=` is an empty response. Nothing cancels here.
///
/// # Errors
///
/// [`DecodeError::Syntax`] rejects the command, [`DecodeError::Incomplete`] fails the exchange.
pub fn decode_initial_response(argument: &[u8]) -> Result<SecretOctets, DecodeError> {
    match argument {
        b"" => Err(DecodeError::Syntax),
        b"=" => Ok(secret(b"")),
        _ => decode(argument),
    }
}

/// Decodes a line sent in answer to a challenge, without its line end.
///
/// A line that starts with `*` cancels, whatever follows. An empty line is an empty response, and so is a lone `=`, which
/// clients send that take SASL-IR's rule for a general one.
///
/// # Errors
///
/// Whatever is wrong with it, the exchange fails.
pub fn decode_response(line: &[u8]) -> Result<Response, DecodeError> {
    match line {
        [b'*', ..] => Ok(Response::Cancelled),
        b"" | b"=" => Ok(Response::Data(secret(b""))),
        _ => decode(line).map(Response::Data),
    }
}

/// Returns the base64 form of a challenge: one line, never folded, empty for an empty challenge.
pub fn encode_challenge(challenge: &[u8]) -> String {
    STANDARD.encode(challenge)
}

/// Standard alphabet and padding. Bits behind the last octet are ignored, as the original ignores them.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

fn decode(text: &[u8]) -> Result<SecretOctets, DecodeError> {
    let pads = text.iter().rev().take_while(|&&byte| byte == b'=').count();
    let (body, _) = text.split_at(text.len() - pads);
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    if pads > 2 || body.is_empty() || !body.iter().all(is_base64) {
        return Err(DecodeError::Syntax);
    }
    if !text.len().is_multiple_of(4) {
        return Err(DecodeError::Incomplete);
    }
    LENIENT
        .decode(text)
        .map(|octets| Secret::new(Zeroizing::new(octets)))
        .map_err(|_| DecodeError::Incomplete)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn data(octets: &[u8]) -> Result<Response, DecodeError> {
        Ok(Response::Data(secret(octets)))
    }

    #[test]
    fn responses() {
        assert_eq!(decode_response(b"AGFkYQBhZGFwdw=="), data(b"\0ada\0adapw"));
        assert_eq!(decode_response(b""), data(b""));
        assert_eq!(decode_response(b"="), data(b""));
        assert_eq!(decode_response(b"*"), Ok(Response::Cancelled));
        assert_eq!(decode_response(b"* anything"), Ok(Response::Cancelled));
        assert_eq!(decode_response(b"YR=="), data(b"a"), "bits behind the last octet");
    }

    #[test]
    fn bad_responses() {
        for bad in [&b"!!!"[..], b"A===", b"==", b"AB=C", b"YWRh YWRh", b"YWRh\r", b"YW\0h", b"AAAA===="] {
            assert_eq!(decode_response(bad), Err(DecodeError::Syntax), "{}", bad.escape_ascii());
        }
        for bad in [&b"abc"[..], b"a", b"YWRhYQ", b"YWRh=", b"YWRhYQ="] {
            assert_eq!(decode_response(bad), Err(DecodeError::Incomplete), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn initial_responses() {
        // fixtures/transcripts/imap-login-and-sasl.txt, "AUTH errors"
        assert_eq!(decode_initial_response(b"!!!"), Err(DecodeError::Syntax));
        assert_eq!(decode_initial_response(b"abc"), Err(DecodeError::Incomplete));
        assert_eq!(decode_initial_response(b"="), Ok(secret(b"")));
        assert_eq!(decode_initial_response(b""), Err(DecodeError::Syntax));
        assert_eq!(decode_initial_response(b"*"), Err(DecodeError::Syntax));
        assert_eq!(decode_initial_response(b"YWRh"), Ok(secret(b"ada")));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(octets: Vec<u8>) {
            prop_assert_eq!(decode_response(encode_challenge(&octets).as_bytes()), data(&octets));
        }

        #[test]
        fn arbitrary_lines_do_not_panic(line: Vec<u8>) {
            drop(decode_response(&line));
            drop(decode_initial_response(&line));
        }

        #[test]
        fn arbitrary_base64_characters_do_not_panic(line in "[A-Za-z0-9+/]{0,20}=?=?=?") {
            drop(decode_response(line.as_bytes()));
        }
    }
}
