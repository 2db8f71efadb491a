//! The size with which each message of an append is announced.

use ailurus_store::{Error, Result};

/// Sees to it that messages have the sizes that they were announced with. After an error no message can be committed.
#[derive(Debug, Default)]
pub(crate) struct SizeCheck {
    /// How many octets of the message that was begun are missing.
    missing: Option<u64>,
}

impl SizeCheck {
    /// Begins a message of so many octets. The one before must have ended.
    pub(crate) fn begin(&mut self, size: u64) -> Result<()> {
        if size == 0 {
            return Err(no_octets());
        }
        self.check_ended()?;
        self.missing = Some(size);
        Ok(())
    }

    /// Counts octets of the message.
    pub(crate) fn count(&mut self, octets: &[u8]) -> Result<()> {
        let missing = self.missing.as_mut();
        let missing = missing.ok_or_else(|| Error::Refused("no message was begun".into()))?;
        *missing = missing.checked_sub(octets.len() as u64).ok_or_else(wrong_size)?;
        Ok(())
    }

    /// Fails unless all octets of the message have come.
    pub(crate) fn check_whole(&self) -> Result<()> {
        if self.missing == Some(0) { Ok(()) } else { Err(wrong_size()) }
    }

    /// Ends the message, all of whose octets have come.
    pub(crate) fn end(&mut self) -> Result<()> {
        self.check_whole()?;
        self.missing = None;
        Ok(())
    }

    /// Fails while a message has not ended.
    pub(crate) fn check_ended(&self) -> Result<()> {
        if self.missing.is_none() { Ok(()) } else { Err(wrong_size()) }
    }
}

/// Returns the refusal of a message of no octets.
pub(crate) fn no_octets() -> Error {
    Error::Refused("Append of zero-length message".into())
}

fn wrong_size() -> Error {
    Error::Refused("message does not have the size it was announced with".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_announced_must_come_and_nothing_more() {
        let mut sizes = SizeCheck::default();
        assert!(sizes.count(b"a").is_err() && sizes.end().is_err() && sizes.begin(0).is_err());
        sizes.check_ended().unwrap();
        sizes.begin(3).unwrap();
        sizes.count(b"ab").unwrap();
        assert!(sizes.end().is_err() && sizes.check_ended().is_err() && sizes.begin(1).is_err());
        sizes.count(b"c").unwrap();
        sizes.check_whole().unwrap();
        assert!(sizes.count(b"d").is_err() && sizes.check_ended().is_err());
        sizes.end().unwrap();
        sizes.check_ended().unwrap();
    }
}
