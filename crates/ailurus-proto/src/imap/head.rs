//! Tag and command name: what is known of a command before its arguments are judged.

use crate::imap::args::{Args, is_atom_char};
use crate::imap::framing::CommandLine;
use crate::imap::{HeadError, SyntaxError};
use std::fmt;

/// A command tag (RFC 3501 §9), 1 to 50 octets. The client picks it; we only echo it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tag(Box<str>);

impl Tag {
    /// The longest tag in octets.
    pub const MAX_LEN: usize = 50;

    /// Returns the tag, or `None` when it is empty, too long, or has an octet that no tag may have: anything outside
    /// 0x21..0x7e and each of `( ) { % * " \`.
    #[must_use]
    pub fn new(text: &[u8]) -> Option<Self> {
        let good = !text.is_empty() && text.len() <= Self::MAX_LEN && text.iter().copied().all(is_atom_char);
        good.then(|| Self(String::from_utf8_lossy(text).into()))
    }

    /// Returns the tag that begins a line, if one does and a space ends it; for a line that is too long to parse.
    #[must_use]
    pub fn of_line(line: &CommandLine) -> Option<Self> {
        let octets = line.octets();
        let end = octets.iter().take(Self::MAX_LEN + 1).position(|octet| *octet == b' ')?;
        Self::new(&octets[..end])
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! commands {
    ($($variant:ident $text:literal,)*) => {
        /// The name of a command that the grammar knows. `UID` and the word behind it are one name.
        #[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
        #[non_exhaustive]
        pub enum CommandName {
            $(#[doc = concat!("`", $text, "`")] $variant,)*
        }

        impl CommandName {
            /// All names.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Returns the name in upper case, as responses show it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }

            fn of_upper(name: &[u8]) -> Option<Self> {
                // Matching on `str` compares lengths first; other than ASCII is no command.
                match std::str::from_utf8(name).ok()? {
                    $($text => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

commands! {
    Append "APPEND",
    Authenticate "AUTHENTICATE",
    Bboard "BBOARD",
    Capability "CAPABILITY",
    Check "CHECK",
    Close "CLOSE",
    Copy "COPY",
    Create "CREATE",
    Delete "DELETE",
    Enable "ENABLE",
    Examine "EXAMINE",
    Expunge "EXPUNGE",
    Fetch "FETCH",
    Find "FIND",
    Id "ID",
    Idle "IDLE",
    List "LIST",
    Login "LOGIN",
    Logout "LOGOUT",
    Lsub "LSUB",
    Move "MOVE",
    Namespace "NAMESPACE",
    Noop "NOOP",
    Rename "RENAME",
    Rlist "RLIST",
    Rlsub "RLSUB",
    Scan "SCAN",
    Search "SEARCH",
    Select "SELECT",
    Sort "SORT",
    StartTls "STARTTLS",
    Status "STATUS",
    Store "STORE",
    Subscribe "SUBSCRIBE",
    Thread "THREAD",
    UidCopy "UID COPY",
    UidExpunge "UID EXPUNGE",
    UidFetch "UID FETCH",
    UidMove "UID MOVE",
    UidSearch "UID SEARCH",
    UidSort "UID SORT",
    UidStore "UID STORE",
    UidThread "UID THREAD",
    Unselect "UNSELECT",
    Unsubscribe "UNSUBSCRIBE",
}

impl CommandName {
    /// As long as the longest name.
    const MAX_LEN: usize = 12;

    fn parse(name: &[u8]) -> Option<Self> {
        let mut upper = [0; Self::MAX_LEN];
        let upper = upper.get_mut(..name.len())?;
        upper.copy_from_slice(name);
        upper.make_ascii_uppercase();
        Self::of_upper(upper)
    }
}

impl fmt::Display for CommandName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a line calls its command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Name<'l> {
    /// A command of the grammar.
    Known(CommandName),
    /// None. These are the octets as they came, perhaps none at all.
    Unknown(&'l [u8]),
}

/// A command whose arguments are still to be parsed.
#[derive(Clone, Debug)]
pub struct Head<'l> {
    /// The tag.
    pub tag: Tag,
    /// The name.
    pub name: Name<'l>,
    name_octets: &'l [u8],
    pub(crate) args: Args<'l>,
}

impl Head<'_> {
    /// Returns the refusal of a command that is unknown, or not allowed in the session's state.
    #[must_use]
    pub fn unrecognized(&self) -> SyntaxError {
        SyntaxError::unrecognized(self.name_octets)
    }
}

/// Parses tag and command name of a line, whole or up to a literal.
pub fn parse_head(line: &CommandLine) -> Result<Head<'_>, HeadError> {
    let text = line.octets();
    let tag_len = text.iter().take_while(|octet| is_atom_char(**octet)).count();
    if tag_len == 0 || text.get(tag_len) != Some(&b' ') {
        return Err(HeadError::MissingTag);
    }
    let tag = Tag::new(&text[..tag_len]).ok_or(HeadError::LongTag)?;
    let mut args = Args::new(line, tag_len + 1);
    if args.rest().is_empty() {
        return Err(HeadError::MissingCommand(tag));
    }
    let name_octets = args.take_name();
    let name = CommandName::parse(name_octets).map_or(Name::Unknown(name_octets), Name::Known);
    Ok(Head { tag, name, name_octets, args })
}
