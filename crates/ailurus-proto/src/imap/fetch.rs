//! The arguments of FETCH: items, sections, partials (RFC 3501 §6.4.5).

use crate::imap::args::{Args, Fault};
use crate::imap::command::{WrittenSet, written_set};
use crate::imap::{CommandName, Numbering, Stop, SyntaxError, print};

/// The most items of one FETCH, the UID that UID FETCH adds included.
const MAX_ITEMS: usize = 100;

/// The arguments of FETCH. What is wrong with them is said in this order: set, items.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FetchArgs {
    /// The messages.
    pub set: WrittenSet,
    /// What to fetch, in the order of the response, macros expanded. UID FETCH begins with [`FetchItem::Uid`].
    pub items: Result<Vec<FetchItem>, SyntaxError>,
}

/// One data item.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum FetchItem {
    /// `UID`
    Uid,
    /// `FLAGS`
    Flags,
    /// `INTERNALDATE`
    InternalDate,
    /// `RFC822.SIZE`
    Rfc822Size,
    /// `ENVELOPE`
    Envelope,
    /// `BODY`: the structure without extension data.
    Body,
    /// `BODYSTRUCTURE`
    BodyStructure,
    /// `RFC822`: the whole message.
    Rfc822,
    /// `RFC822.HEADER`
    Rfc822Header,
    /// `RFC822.TEXT`
    Rfc822Text,
    /// `BODY[section]<partial>` or `BODY.PEEK[section]<partial>`
    Section(Section, Option<Partial>, Peek),
    /// `BINARY[part]<partial>` or `BINARY.PEEK[part]<partial>` (RFC 3516): the part with its transfer encoding undone. Without
    /// part numbers it is the whole message as it is stored.
    Binary(Vec<u32>, Option<Partial>, Peek),
    /// `BINARY.SIZE[part]`
    BinarySize(Vec<u32>),
}

/// Whether fetching a section sets `\Seen`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Peek {
    /// `BODY[...]` sets it.
    No,
    /// `BODY.PEEK[...]` does not.
    Yes,
}

/// What of a message to fetch: a part and what of it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Section {
    /// The part numbers; none for the message itself. A number that is zero names no part.
    pub part: Vec<u32>,
    /// What of that part.
    pub text: SectionText,
}

/// What of a part to fetch.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum SectionText {
    /// All of the message, or the body of the part.
    #[default]
    All,
    /// `HEADER`
    Header,
    /// `HEADER.FIELDS`: the fields of these names. Upper case, except for those that came as literals.
    HeaderFields(Vec<Vec<u8>>),
    /// `HEADER.FIELDS.NOT`: the fields of all other names.
    HeaderFieldsNot(Vec<Vec<u8>>),
    /// `TEXT`
    Text,
    /// `MIME`; never without part numbers.
    Mime,
}

/// `<origin.count>`: some octets of a section.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Partial {
    /// The first octet, counted from zero. `u64::MAX` for every larger number.
    pub origin: u64,
    /// How many octets at most; never zero.
    pub count: u64,
}

impl FetchItem {
    /// Tells whether fetching the item sets `\Seen`.
    #[must_use]
    pub fn sets_seen(&self) -> bool {
        matches!(
            self,
            Self::Rfc822 | Self::Rfc822Text | Self::Section(_, _, Peek::No) | Self::Binary(_, _, Peek::No)
        )
    }

    /// Appends the name of the item as the response shows it: `BODY[1.HEADER]<0>`, never with PEEK.
    pub fn append_name(&self, out: &mut Vec<u8>) {
        let name = match self {
            Self::Uid => "UID",
            Self::Flags => "FLAGS",
            Self::InternalDate => "INTERNALDATE",
            Self::Rfc822Size => "RFC822.SIZE",
            Self::Envelope => "ENVELOPE",
            Self::Body => "BODY",
            Self::BodyStructure => "BODYSTRUCTURE",
            Self::Rfc822 => "RFC822",
            Self::Rfc822Header => "RFC822.HEADER",
            Self::Rfc822Text => "RFC822.TEXT",
            Self::Section(section, partial, _) => {
                out.extend_from_slice(b"BODY[");
                section.append_to(out);
                return end_section(*partial, out);
            }
            Self::Binary(part, partial, _) => {
                out.extend_from_slice(b"BINARY[");
                append_part(out, part);
                return end_section(*partial, out);
            }
            Self::BinarySize(part) => {
                out.extend_from_slice(b"BINARY.SIZE[");
                append_part(out, part);
                return end_section(None, out);
            }
        };
        out.extend_from_slice(name.as_bytes());
    }
}

fn end_section(partial: Option<Partial>, out: &mut Vec<u8>) {
    out.push(b']');
    if let Some(partial) = partial {
        out.push(b'<');
        print::number(out, partial.origin);
        out.push(b'>');
    }
}

fn append_part(out: &mut Vec<u8>, part: &[u32]) {
    for (position, number) in part.iter().enumerate() {
        if position > 0 {
            out.push(b'.');
        }
        print::number(out, (*number).into());
    }
}

impl Section {
    /// Appends what stands between the brackets.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        append_part(out, &self.part);
        if !self.part.is_empty() && self.text != SectionText::All {
            out.push(b'.');
        }
        match &self.text {
            SectionText::All => {}
            SectionText::Header => out.extend_from_slice(b"HEADER"),
            SectionText::Text => out.extend_from_slice(b"TEXT"),
            SectionText::Mime => out.extend_from_slice(b"MIME"),
            SectionText::HeaderFields(names) => append_names(out, "HEADER.FIELDS", names),
            SectionText::HeaderFieldsNot(names) => append_names(out, "HEADER.FIELDS.NOT", names),
        }
    }
}

fn append_names(out: &mut Vec<u8>, what: &str, names: &[Vec<u8>]) {
    out.extend_from_slice(what.as_bytes());
    for (position, name) in names.iter().enumerate() {
        out.extend_from_slice(if position == 0 { b" (" } else { b" " });
        print::astring(out, name);
    }
    out.push(b')');
}

pub(crate) fn parse(args: &mut Args<'_>, command: CommandName) -> Result<FetchArgs, Stop> {
    let missing = || Fault::Missing.of(command);
    let set = args.word().ok_or_else(missing)?;
    args.skip_spaces();
    if args.rest().is_empty() {
        return Err(missing());
    }
    let mut parser = Items { args, command, items: Vec::with_capacity(4) };
    let items = match parser.parse() {
        Ok(()) => Ok(parser.items),
        Err(Stop::Refused(error)) => Err(error),
        Err(literal) => return Err(literal),
    };
    Ok(FetchArgs { set: written_set(set), items })
}

/// Where the parser is in the list of items.
#[derive(Clone, Copy, Eq, PartialEq)]
enum List {
    Open,
    /// Closed, or there was no parenthesis: nothing may follow.
    Done,
}

struct Items<'a, 'l> {
    args: &'a mut Args<'l>,
    command: CommandName,
    items: Vec<FetchItem>,
}

impl Items<'_, '_> {
    fn parse(&mut self) -> Result<(), Stop> {
        if self.command.numbering() == Numbering::Uid {
            self.items.push(FetchItem::Uid);
        }
        if let Some(items) = macro_items(self.args.rest()) {
            self.items.extend_from_slice(items);
            return Ok(());
        }
        let mut list = if self.args.eat(b'(') { List::Open } else { List::Done };
        if self.args.rest().is_empty() {
            return Err(Fault::Missing.of(self.command));
        }
        loop {
            self.args.skip_spaces();
            list = self.item(list)?;
            self.args.skip_spaces();
            let ended = self.args.rest().is_empty();
            match list {
                _ if !ended && (list == List::Done || self.items.len() >= MAX_ITEMS) => {
                    return Err(SyntaxError::ComplexItems.into());
                }
                List::Open if ended => return Err(SyntaxError::UnterminatedItems.into()),
                List::Open => {}
                List::Done => return Ok(()),
            }
        }
    }

    /// Takes one item, and the parenthesis behind it if it ends the list.
    fn item(&mut self, list: List) -> Result<List, Stop> {
        let text = self.args.rest();
        let word = &text[..text.iter().position(|octet| *octet == b' ').unwrap_or(text.len())];
        if self.eat_word(b"BODY[") {
            return self.section_item(list, Peek::No);
        } else if self.eat_word(b"BODY.PEEK[") {
            return self.section_item(list, Peek::Yes);
        } else if self.eat_word(b"BINARY[") {
            return self.binary_item(list, Some(Peek::No));
        } else if self.eat_word(b"BINARY.PEEK[") {
            return self.binary_item(list, Some(Peek::Yes));
        } else if self.eat_word(b"BINARY.SIZE[") {
            return self.binary_item(list, None);
        }
        self.args.skip(word.len());
        let (name, list) = match word.strip_suffix(b")") {
            Some(name) if list == List::Open => (name, List::Done),
            _ => (word, list),
        };
        let item = plain_item(name).ok_or(SyntaxError::BogusAttributes(self.command))?;
        // UID FETCH sends the UID anyway, once.
        if item != FetchItem::Uid || self.command.numbering() == Numbering::SeqNum {
            self.items.push(item);
        }
        Ok(list)
    }

    fn section_item(&mut self, list: List, peek: Peek) -> Result<List, Stop> {
        let section = self.section()?;
        let partial = if self.args.eat(b'<') { Some(self.partial()?) } else { None };
        self.items.push(FetchItem::Section(section, partial, peek));
        self.after_section(list)
    }

    /// Takes a part of BINARY and what follows it; of BINARY.SIZE without `peek`.
    fn binary_item(&mut self, list: List, peek: Option<Peek>) -> Result<List, Stop> {
        let part = self.part_numbers();
        if !self.args.eat(b']') {
            return Err(match self.args.rest() {
                [b'.' | b'a'..=b'z' | b'A'..=b'Z', ..] => SyntaxError::Binary,
                _ if part.is_empty() => SyntaxError::Binary,
                _ => SyntaxError::Section,
            }
            .into());
        }
        let item = match (peek, self.args.eat(b'<')) {
            (None, true) => return Err(SyntaxError::Partial.into()),
            (None, false) => FetchItem::BinarySize(part),
            (Some(peek), true) => FetchItem::Binary(part, Some(self.partial()?), peek),
            (Some(peek), false) => FetchItem::Binary(part, None, peek),
        };
        self.items.push(item);
        self.after_section(list)
    }

    fn after_section(&mut self, list: List) -> Result<List, Stop> {
        match self.args.rest() {
            [] | [b' ', ..] => Ok(list),
            [b')'] if list == List::Open => {
                self.args.skip(1);
                Ok(List::Done)
            }
            _ => Err(SyntaxError::AfterSection.into()),
        }
    }

    /// Takes what is between the brackets, and the closing one.
    fn section(&mut self) -> Result<Section, Stop> {
        let mut section = Section { part: self.part_numbers(), text: SectionText::All };
        if !section.part.is_empty() && self.args.peek() != Some(b']') {
            let text_follows = matches!(self.args.rest(), [b'.', b'a'..=b'z' | b'A'..=b'Z', ..]);
            if !text_follows {
                return Err(SyntaxError::Section.into());
            }
            self.args.skip(1);
        }
        if self.args.peek() != Some(b']') {
            section.text = self.section_text(&section.part)?;
        }
        if self.args.eat(b']') { Ok(section) } else { Err(SyntaxError::SectionEnd.into()) }
    }

    /// Takes `1.2.3`; a dot that no digit follows stays.
    fn part_numbers(&mut self) -> Vec<u32> {
        let mut part = Vec::new();
        while let Some(number) = self.args.number() {
            part.push(u32::try_from(number).unwrap_or(u32::MAX));
            if !matches!(self.args.rest(), [b'.', b'0'..=b'9', ..]) {
                break;
            }
            self.args.skip(1);
        }
        part
    }

    fn section_text(&mut self, part: &[u32]) -> Result<SectionText, Stop> {
        if self.eat_word(b"HEADER") {
            return if self.eat_word(b".FIELDS") { self.header_fields() } else { Ok(SectionText::Header) };
        }
        if self.eat_word(b"TEXT") {
            return Ok(SectionText::Text);
        }
        if !part.is_empty() && self.eat_word(b"MIME") && self.args.peek() == Some(b']') {
            return Ok(SectionText::Mime);
        }
        Err(SyntaxError::SectionText.into())
    }

    fn header_fields(&mut self) -> Result<SectionText, Stop> {
        let others = self.eat_word(b".NOT");
        if !(self.args.eat(b' ') && self.args.eat(b'(')) {
            return Err(SyntaxError::HeaderFields.into());
        }
        let mut names = Vec::new();
        loop {
            let as_written = self.args.peek() == Some(b'{');
            let mut name = self.args.bare_astring().map_err(|fault| self.name_fault(fault))?.into_owned();
            if !as_written {
                name.make_ascii_uppercase();
            }
            names.push(name);
            if self.args.eat(b')') {
                break;
            }
            if !self.args.eat(b' ') {
                return Err(SyntaxError::HeaderFields.into());
            }
        }
        Ok(if others { SectionText::HeaderFieldsNot(names) } else { SectionText::HeaderFields(names) })
    }

    fn name_fault(&self, fault: Fault) -> Stop {
        match fault {
            Fault::Missing => SyntaxError::HeaderFields.into(),
            _ => fault.of(self.command),
        }
    }

    /// Takes what follows `<`, and the `>`.
    fn partial(&mut self) -> Result<Partial, Stop> {
        let origin = self.args.number();
        let dot = self.args.eat(b'.');
        let count = self.args.number().filter(|count| *count > 0);
        match (origin, dot, count, self.args.eat(b'>')) {
            (Some(origin), true, Some(count), true) => Ok(Partial { origin, count }),
            _ => Err(SyntaxError::Partial.into()),
        }
    }

    /// Takes the word, in any letter case, if it comes next.
    fn eat_word(&mut self, word: &[u8]) -> bool {
        let found = self.args.rest().get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
        if found {
            self.args.skip(word.len());
        }
        found
    }
}

fn macro_items(text: &[u8]) -> Option<&'static [FetchItem]> {
    const FULL: &[FetchItem] = &[
        FetchItem::Flags,
        FetchItem::InternalDate,
        FetchItem::Rfc822Size,
        FetchItem::Envelope,
        FetchItem::Body,
    ];
    if text.eq_ignore_ascii_case(b"ALL") {
        Some(&FULL[..4])
    } else if text.eq_ignore_ascii_case(b"FULL") {
        Some(FULL)
    } else if text.eq_ignore_ascii_case(b"FAST") {
        Some(&FULL[..3])
    } else {
        None
    }
}

fn plain_item(name: &[u8]) -> Option<FetchItem> {
    const ITEMS: [FetchItem; 10] = [
        FetchItem::Uid,
        FetchItem::Flags,
        FetchItem::InternalDate,
        FetchItem::Rfc822Size,
        FetchItem::Envelope,
        FetchItem::Body,
        FetchItem::BodyStructure,
        FetchItem::Rfc822,
        FetchItem::Rfc822Header,
        FetchItem::Rfc822Text,
    ];
    const NAMES: [&[u8]; 10] = [
        b"UID",
        b"FLAGS",
        b"INTERNALDATE",
        b"RFC822.SIZE",
        b"ENVELOPE",
        b"BODY",
        b"BODYSTRUCTURE",
        b"RFC822",
        b"RFC822.HEADER",
        b"RFC822.TEXT",
    ];
    let at = NAMES.iter().position(|known| name.eq_ignore_ascii_case(known))?;
    ITEMS.get(at).cloned()
}
