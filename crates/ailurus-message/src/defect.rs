//! What was found wrong with a message.

/// Something wrong with a message, or one of our limits reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
#[non_exhaustive]
pub enum Defect {
    /// A header block is larger than what is kept of it; fields beyond that are not seen.
    HeaderTooLarge,
    /// No empty line ends the header of the message or of an encapsulated one.
    HeaderUnterminated,
    /// A line of a header block is neither a field nor the continuation of one.
    NotAField,
    /// Content fields without `MIME-Version:`.
    NoMimeVersion,
    /// `Content-Type:` is not of the form type/subtype with parameters.
    BadContentType,
    /// A multipart without a boundary parameter, or whose boundary is too long ever to match.
    BadBoundary,
    /// A multipart without the line that opens a part.
    NoParts,
    /// A multipart without the line that closes it.
    Unclosed,
    /// A multipart or message with a transfer encoding, which is ignored.
    EncodedComposite,
    /// Parts nested too deep; the deepest is taken for text.
    TooDeep,
    /// Too many parts; the rest of the message belongs to the last.
    TooManyParts,
}

const ALL: [Defect; 11] = [
    Defect::HeaderTooLarge,
    Defect::HeaderUnterminated,
    Defect::NotAField,
    Defect::NoMimeVersion,
    Defect::BadContentType,
    Defect::BadBoundary,
    Defect::NoParts,
    Defect::Unclosed,
    Defect::EncodedComposite,
    Defect::TooDeep,
    Defect::TooManyParts,
];

/// A set of [`Defect`]s.
#[derive(Clone, Copy, Default, Eq, PartialEq)]
pub struct Defects(u16);

impl Defects {
    /// Returns whether the set holds `defect`.
    pub fn contains(self, defect: Defect) -> bool {
        self.0 & (1 << defect as u16) != 0
    }

    /// Returns whether nothing was found wrong.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the defects in the set, in a fixed order.
    pub fn iter(self) -> impl Iterator<Item = Defect> {
        ALL.into_iter().filter(move |&defect| self.contains(defect))
    }

    pub(crate) fn add(&mut self, defect: Defect) {
        self.0 |= 1 << defect as u16;
    }

    pub(crate) fn add_all(&mut self, defects: Self) {
        self.0 |= defects.0;
    }
}

impl std::fmt::Debug for Defects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
