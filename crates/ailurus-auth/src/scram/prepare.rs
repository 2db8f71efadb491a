//! SASLprep (RFC 4013): one form for names and passwords that look the same.

use std::borrow::Cow;
use zeroize::Zeroizing;

/// Returns a password as SCRAM hashes it.
///
/// What is no UTF-8, or holds what SASLprep prohibits, is taken as it is: such a password works with clients that do not prepare
/// it either, and of those that refuse to send it none can be mistaken for another.
pub(crate) fn password(octets: &[u8]) -> Zeroizing<Vec<u8>> {
    let prepared = std::str::from_utf8(octets).ok().and_then(|text| stringprep::saslprep(text).ok());
    Zeroizing::new(match prepared {
        Some(Cow::Owned(text)) if !text.is_empty() => text.into_bytes(),
        _ => octets.to_vec(),
    })
}

/// Returns a user name as it is looked up, or `None` if it cannot be one.
pub(crate) fn name(text: &str) -> Option<Vec<u8>> {
    let prepared = stringprep::saslprep(text).ok()?;
    (!prepared.is_empty()).then(|| prepared.into_owned().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4013 §3.
    #[test]
    fn rfc_4013_examples() {
        assert_eq!(name("I\u{ad}X").as_deref(), Some(&b"IX"[..]));
        assert_eq!(name("user").as_deref(), Some(&b"user"[..]));
        assert_eq!(name("USER").as_deref(), Some(&b"USER"[..]));
        assert_eq!(name("\u{aa}").as_deref(), Some(&b"a"[..]));
        assert_eq!(name("\u{2168}").as_deref(), Some(&b"IX"[..]));
        assert_eq!(name("\u{7}"), None);
        assert_eq!(name("\u{627}1"), None);
        assert_eq!(name(""), None);
    }

    #[test]
    fn a_password_that_cannot_be_prepared_is_itself() {
        assert_eq!(&password("\u{2168} ok".as_bytes())[..], b"IX ok");
        assert_eq!(&password(b"\xff\xfe")[..], b"\xff\xfe");
        assert_eq!(&password(b"bell\x07")[..], b"bell\x07");
        assert_eq!(&password("\u{ad}".as_bytes())[..], "\u{ad}".as_bytes(), "nothing would be left of it");
    }
}
