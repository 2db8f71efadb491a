//! Values that must not be printed.

use std::fmt;

/// A secret (a password, a key) whose `Debug` prints nothing of it in any build.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps a value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// Returns the secret itself; the name says at each use that it is laid open.
    pub const fn expose(&self) -> &T {
        &self.0
    }

    /// Returns the secret itself, taken out.
    pub fn into_exposed(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::new("adapw")), "Secret(..)");
    }
}
