//! Mailbox names as users write them.

use std::fmt;

/// A mailbox name as the user gave it: octets, on the wire usually modified UTF-7 (RFC 3501 §5.1.3).
///
/// Only `INBOX` is special, in any letter case (RFC 3501 §5.1). Everything else is kept as it came; what a name
/// means is decided by the store's name resolution (spec/storage-common.md §3).
#[derive(Clone, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct MailboxName(Box<[u8]>);

impl MailboxName {
    /// Returns the name made of these octets; any octets are a name, though not every name is a mailbox.
    pub fn new(octets: impl Into<Vec<u8>>) -> Self {
        Self(octets.into().into_boxed_slice())
    }

    /// Returns the name `INBOX`.
    #[must_use]
    pub fn inbox() -> Self {
        Self::new(*b"INBOX")
    }

    /// Returns the octets of the name.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Tells whether this is `INBOX` in any letter case.
    #[must_use]
    pub fn is_inbox(&self) -> bool {
        self.0.eq_ignore_ascii_case(b"INBOX")
    }
}

impl From<&str> for MailboxName {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl fmt::Display for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            f.write_str(chunk.valid())?;
            for octet in chunk.invalid() {
                write!(f, "\\x{octet:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MailboxName({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inbox_is_special_in_any_case_and_alone() {
        assert!(MailboxName::from("iNbOx").is_inbox());
        assert!(!MailboxName::from("INBOX/sub").is_inbox());
    }

    #[test]
    fn display_shows_octets_that_are_not_text() {
        assert_eq!(MailboxName::new(*b"caf\xe9").to_string(), "caf\\xe9");
    }
}
