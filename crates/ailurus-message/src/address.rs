//! Address lists (RFC 5322 §3.4): groups, routes, comments, quoted strings, obsolete and broken forms.
//!
//! Broken addresses never fail a list. They give the entries that mail programs know from the C library: a mailbox
//! without host gets the host `.MISSING-HOST-NAME.`, one with an unreadable host `.SYNTAX-ERROR.`, and where the list
//! itself cannot be read a [`Broken`] entry follows, after which the rest of the field is ignored.
//!
//! Time is linear in the field; entries are handed out one by one, so that a list of any length needs no memory.

use std::borrow::Cow;

use crate::{
    lex::{self, comment_end, phrase_end, skip_space, unquote, word},
    words,
};
use ailurus_types::wire;

/// How deep groups may nest; RFC 5322 does not let them nest at all.
const MAX_GROUP_DEPTH: u32 = 50;

/// One entry of an address list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Entry<'a> {
    /// A mailbox.
    Mailbox(Mailbox<'a>),
    /// The start of the group of this name; its members follow.
    GroupStart(Cow<'a, [u8]>),
    /// The end of the innermost group.
    GroupEnd,
    /// Text that is no address.
    Broken(Broken),
}

/// A mailbox. All texts are unquoted and unfolded, encoded words in them are not decoded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mailbox<'a> {
    /// The phrase before the angle address, or else the comment after the address.
    pub name: Option<Cow<'a, [u8]>>,
    /// The source route (RFC 5322 §4.4) as `@a,@b`.
    pub route: Option<Vec<u8>>,
    /// What stands before the `@`.
    pub local_part: Cow<'a, [u8]>,
    /// What stands after the `@`.
    pub host: Host<'a>,
}

/// The host of a mailbox.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Host<'a> {
    /// A domain, or a domain literal with its brackets.
    Named(Cow<'a, [u8]>),
    /// There is no `@`.
    Missing,
    /// Nothing that could be a domain stands after the `@`.
    Invalid,
}

impl Host<'_> {
    /// Returns the host as ENVELOPE shows it.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Named(host) => host,
            Self::Missing => b".MISSING-HOST-NAME.",
            Self::Invalid => SYNTAX_ERROR,
        }
    }
}

const SYNTAX_ERROR: &[u8] = b".SYNTAX-ERROR.";

/// Text in a list that is no address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Broken {
    /// No address begins here. The rest of the field is ignored.
    InvalidAddress,
    /// Something other than a comma follows an address. The rest of the field is ignored.
    UnexpectedDataAfterAddress,
    /// The address before this lacks its `>`.
    MissingMailboxTerminator,
    /// No address begins here in a group. The rest of the field is ignored.
    InvalidAddressInGroup,
    /// Something other than a comma follows an address in a group. The rest of the field is ignored.
    UnexpectedDataAfterAddressInGroup,
}

impl Broken {
    /// Returns the local part that ENVELOPE shows in its place, with the host `.SYNTAX-ERROR.`.
    pub fn as_local_part(self) -> &'static str {
        match self {
            Self::InvalidAddress => "INVALID_ADDRESS",
            Self::UnexpectedDataAfterAddress => "UNEXPECTED_DATA_AFTER_ADDRESS",
            Self::MissingMailboxTerminator => "MISSING_MAILBOX_TERMINATOR",
            Self::InvalidAddressInGroup => "INVALID_ADDRESS_IN_GROUP",
            Self::UnexpectedDataAfterAddressInGroup => "UNEXPECTED_DATA_AFTER_ADDRESS_IN_GROUP",
        }
    }
}

/// Hands the entries of an address list, the value of a field still folded, to `found` one by one.
pub fn parse<'a>(list: &'a [u8], mut found: impl FnMut(Entry<'a>)) {
    Parser { text: list, at: Some(0), found: &mut found }.list();
}

/// Returns the entries of an address list, the value of a field still folded.
pub fn parse_list(list: &[u8]) -> Vec<Entry<'_>> {
    let mut entries = Vec::new();
    parse(list, |entry| entries.push(entry));
    entries
}

/// Returns the first mailbox of an address list, groups passed over: what SORT compares.
pub fn first_mailbox(list: &[u8]) -> Option<Mailbox<'_>> {
    let mut first = None;
    parse(list, |entry| {
        if let (None, Entry::Mailbox(mailbox)) = (&first, entry) {
            first = Some(mailbox);
        }
    });
    first
}

/// Appends an entry as ENVELOPE shows it (RFC 3501 §7.4.2): `(name route local-part host)`.
pub fn print_entry(entry: &Entry<'_>, out: &mut Vec<u8>) {
    match entry {
        Entry::Mailbox(mailbox) => {
            out.push(b'(');
            wire::nstring(out, mailbox.name.as_deref());
            out.push(b' ');
            wire::nstring(out, mailbox.route.as_deref());
            out.push(b' ');
            wire::string(out, &mailbox.local_part);
            out.push(b' ');
            wire::string(out, mailbox.host.as_bytes());
            out.push(b')');
        }
        Entry::GroupStart(name) => {
            out.extend_from_slice(b"(NIL NIL ");
            wire::string(out, name);
            out.extend_from_slice(b" NIL)");
        }
        Entry::GroupEnd => out.extend_from_slice(b"(NIL NIL NIL NIL)"),
        Entry::Broken(broken) => {
            out.extend_from_slice(b"(NIL NIL ");
            wire::string(out, broken.as_local_part().as_bytes());
            out.push(b' ');
            wire::string(out, SYNTAX_ERROR);
            out.push(b')');
        }
    }
}

/// Appends an address list as the text that SEARCH looks into: `Name <local@host>`, comma after comma.
///
/// Encoded words are decoded; names and local parts are quoted where a header would have to. Routes are not written, and
/// nothing beyond the first [`MAX_ENTRIES`](crate::MAX_ENTRIES) entries.
pub fn write_list(list: &[u8], out: &mut String) {
    let mut written = 0;
    parse(list, |entry| {
        if written == crate::MAX_ENTRIES {
            return;
        }
        if written > 0 {
            out.push(',');
        }
        written += 1;
        write_entry(&entry, out);
    });
}

fn write_entry(entry: &Entry<'_>, out: &mut String) {
    match entry {
        Entry::Mailbox(mailbox) => {
            let name = mailbox.name.as_deref().filter(|name| !name.is_empty());
            if let Some(name) = name {
                write_phrase(name, out);
                out.push_str(" <");
            }
            write_local_part(&mailbox.local_part, out);
            out.push('@');
            out.push_str(&words::decode(mailbox.host.as_bytes()));
            if name.is_some() {
                out.push('>');
            }
        }
        Entry::GroupStart(name) => {
            write_phrase(name, out);
            out.push_str(": ");
        }
        Entry::GroupEnd => {}
        Entry::Broken(broken) => {
            out.push_str(broken.as_local_part());
            out.push('@');
            out.push_str(".SYNTAX-ERROR.");
        }
    }
}

fn write_phrase(phrase: &[u8], out: &mut String) {
    let phrase = words::decode(phrase);
    write_quoted(&phrase, phrase.is_empty() || lex::PHRASE_QUOTED.occur_in(phrase.as_bytes()), out);
}

fn write_local_part(local_part: &[u8], out: &mut String) {
    let text = words::decode(local_part);
    let dot_atom = !(text.is_empty() || text.starts_with('.') || text.ends_with('.') || text.contains(".."));
    write_quoted(&text, !dot_atom || lex::WORD.occur_in(text.as_bytes()), out);
}

fn write_quoted(text: &str, quoted: bool, out: &mut String) {
    if !quoted {
        out.push_str(text);
        return;
    }
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

struct Parser<'a, 'f> {
    text: &'a [u8],
    /// Where the next address may begin; `None` once the rest of the field is given up.
    at: Option<usize>,
    found: &'f mut dyn FnMut(Entry<'a>),
}

impl<'a> Parser<'a, '_> {
    fn list(&mut self) {
        let mut at = skip_space(self.text, 0);
        while at < self.text.len() {
            // RFC 5322 §4.4: there may be null addresses between commas.
            let next = skip_space(self.text, at);
            if self.octet(next) == Some(b',') {
                at = skip_space(self.text, next + 1);
                continue;
            }
            if !self.address(at, 0) {
                self.broken(Broken::InvalidAddress);
                return;
            }
            let Some(end) = self.at else { return };
            let end = skip_space(self.text, end);
            match self.octet(end) {
                None => return,
                Some(b',') => at = end + 1,
                Some(_) => {
                    self.broken(Broken::UnexpectedDataAfterAddress);
                    return;
                }
            }
        }
    }

    /// Reads an address or a group; returns false, with nothing read, if there is none.
    fn address(&mut self, at: usize, depth: u32) -> bool {
        let at = skip_space(self.text, at);
        at < self.text.len() && (self.group(at, depth) || self.mailbox(at))
    }

    fn group(&mut self, at: usize, depth: u32) -> bool {
        if depth > MAX_GROUP_DEPTH {
            return false;
        }
        let name_end = match self.octet(at) {
            Some(b':') => Some(at),
            _ => phrase_end(self.text, at),
        };
        let Some(name_end) = name_end else { return false };
        let colon = skip_space(self.text, name_end);
        if self.octet(colon) != Some(b':') {
            return false;
        }
        let name = self.piece(at, name_end);
        (self.found)(Entry::GroupStart(name));
        self.at = Some(skip_space(self.text, colon + 1));
        self.group_members(depth);
        if let Some(at) = self.at {
            let at = if self.octet(at) == Some(b';') { at + 1 } else { at };
            self.at = Some(skip_space(self.text, at));
        }
        (self.found)(Entry::GroupEnd);
        true
    }

    /// Reads the members of a group up to, but not over, the `;` that ends it.
    fn group_members(&mut self, depth: u32) {
        while let Some(at) = self.at {
            if matches!(self.octet(at), None | Some(b';')) {
                return;
            }
            if !self.address(at, depth + 1) {
                self.broken(Broken::InvalidAddressInGroup);
                return;
            }
            let Some(end) = self.at else { return };
            let end = skip_space(self.text, end);
            match self.octet(end) {
                Some(b',') => self.at = Some(end + 1),
                None | Some(b';') => self.at = Some(end),
                Some(_) => self.broken(Broken::UnexpectedDataAfterAddressInGroup),
            }
        }
    }

    fn mailbox(&mut self, at: usize) -> bool {
        if self.octet(at) == Some(b'<') {
            return self.angle_address(at, None);
        }
        let Some(end) = phrase_end(self.text, at) else { return false };
        self.angle_address(end, Some((at, end))) || self.plain_address(at)
    }

    fn plain_address(&mut self, at: usize) -> bool {
        let Some((mailbox, next)) = self.address_spec(at) else { return false };
        (self.found)(Entry::Mailbox(mailbox));
        self.at = next;
        true
    }

    /// Reads `<route:local@host>`; `phrase` is where the name before it stands.
    fn angle_address(&mut self, at: usize, phrase: Option<(usize, usize)>) -> bool {
        let at = skip_space(self.text, at);
        if self.octet(at) != Some(b'<') {
            return false;
        }
        let (route, at) = self.route(at + 1);
        let Some((mut mailbox, next)) = self.address_spec(at) else { return false };
        mailbox.route = route;
        if let Some((start, end)) = phrase {
            mailbox.name = Some(self.piece(start, end));
        }
        (self.found)(Entry::Mailbox(mailbox));
        match next {
            Some(next) if self.octet(next) == Some(b'>') => {
                self.at = self.unless_end(skip_space(self.text, next + 1))
            }
            _ => {
                (self.found)(Entry::Broken(Broken::MissingMailboxTerminator));
                self.at = next;
            }
        }
        true
    }

    /// Returns the source route at `at`, and where the address begins; without its colon it is none.
    fn route(&self, at: usize) -> (Option<Vec<u8>>, usize) {
        let mut route = Vec::new();
        let mut next = skip_space(self.text, at);
        while self.octet(next) == Some(b'@') {
            let (Some(domain), Some(end)) = self.domain(next + 1) else { break };
            route.extend_from_slice(if route.is_empty() { b"@" } else { b",@" });
            route.extend_from_slice(&domain);
            next = skip_space(self.text, end);
            if self.octet(next) != Some(b',') {
                break;
            }
            next = skip_space(self.text, next + 1);
        }
        if !route.is_empty() && self.octet(next) == Some(b':') { (Some(route), next + 1) } else { (None, at) }
    }

    /// Reads `local@host (name)`. Returns also where it ends, `None` for the end of the field.
    fn address_spec(&self, at: usize) -> Option<(Mailbox<'a>, Option<usize>)> {
        let (local_part, end) = self.local_part(at)?;
        let (host, end) = match self.at_sign(end) {
            Some(domain) => match self.domain(domain) {
                (Some(host), end) => (Host::Named(host), end),
                (None, end) => (Host::Invalid, end),
            },
            None => (Host::Missing, Some(end)),
        };
        let (name, end) = end.map_or((None, None), |end| self.trailing_comment(end));
        Some((Mailbox { name, route: None, local_part, host }, end))
    }

    fn local_part(&self, at: usize) -> Option<(Cow<'a, [u8]>, usize)> {
        let (start, mut end) = word(self.text, at, &lex::WORD)?;
        let mut local_part = self.piece(start, end);
        // RFC 5322 §4.4: white space and comments may stand around the dots.
        let mut next = skip_space(self.text, end);
        while self.octet(next) == Some(b'.') {
            let Some((start, word_end)) = word(self.text, next + 1, &lex::WORD) else { break };
            let local_part = local_part.to_mut();
            local_part.push(b'.');
            local_part.extend_from_slice(&self.piece(start, word_end));
            end = word_end;
            next = skip_space(self.text, end);
        }
        Some((local_part, end))
    }

    /// Returns where the domain begins after an `@`, or the `at` of RFC 733.
    fn at_sign(&self, at: usize) -> Option<usize> {
        let at = skip_space(self.text, at);
        match self.text.get(at..).unwrap_or_default() {
            [b'@', ..] => Some(at + 1),
            [b'a' | b'A', b't' | b'T', b' ' | b'\t' | b'\r' | b'\n' | b'(', ..] => Some(at + 2),
            _ => None,
        }
    }

    /// Reads a domain. Returns also where it ends, `None` for the end of the field.
    fn domain(&self, at: usize) -> (Option<Cow<'a, [u8]>>, Option<usize>) {
        let start = skip_space(self.text, at);
        let (mut domain, mut end) = match self.domain_piece(start) {
            (Some(domain), Some(end)) => (domain, end),
            (_, end) => return (None, end.or_else(|| (self.octet(start) != Some(b'[')).then_some(at))),
        };
        let mut next = skip_space(self.text, end);
        while self.octet(next) == Some(b'.') && !domain.ends_with(b"]") {
            let piece_start = skip_space(self.text, next + 1);
            let (Some(piece), Some(piece_end)) = self.domain_piece(piece_start) else { break };
            let domain = domain.to_mut();
            domain.push(b'.');
            domain.extend_from_slice(&piece);
            end = piece_end;
            next = skip_space(self.text, end);
        }
        (Some(domain), Some(end))
    }

    fn domain_piece(&self, at: usize) -> (Option<Cow<'a, [u8]>>, Option<usize>) {
        if self.octet(at) == Some(b'[') {
            return match lex::domain_literal_end(self.text, at) {
                Ok(end) => (self.text.get(at..end).map(crate::header::unfold), Some(end)),
                Err(end) => (None, end),
            };
        }
        match word(self.text, at, &lex::WORD) {
            Some((start, end)) => (Some(self.piece(start, end)), Some(end)),
            None => (None, None),
        }
    }

    /// Returns the comment after an address, which stands for a name, and where the address ends.
    fn trailing_comment(&self, at: usize) -> (Option<Cow<'a, [u8]>>, Option<usize>) {
        let at = lex::skip_blanks(self.text, at);
        let name = match self.octet(at) {
            Some(b'(') => comment_end(self.text, at).and_then(|end| self.comment_text(at + 1, end - 1)),
            _ => None,
        };
        (name, self.unless_end(skip_space(self.text, at)))
    }

    /// Returns what a comment says, without the blanks around it; `None` if nothing.
    fn comment_text(&self, start: usize, end: usize) -> Option<Cow<'a, [u8]>> {
        let comment = self.text.get(start..end)?;
        let first = comment.iter().position(|octet| !lex::is_blank(octet))?;
        let last = comment.iter().rposition(|octet| !lex::is_blank(octet))?;
        comment.get(first..=last).map(unquote)
    }

    fn broken(&mut self, broken: Broken) {
        (self.found)(Entry::Broken(broken));
        self.at = None;
    }

    fn octet(&self, at: usize) -> Option<u8> {
        self.text.get(at).copied()
    }

    fn piece(&self, start: usize, end: usize) -> Cow<'a, [u8]> {
        unquote(self.text.get(start..end).unwrap_or_default())
    }

    fn unless_end(&self, at: usize) -> Option<usize> {
        (at < self.text.len()).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn printed(list: &str) -> String {
        let mut out = Vec::new();
        parse(list.as_bytes(), |entry| print_entry(&entry, &mut out));
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn good_addresses() {
        for (list, entries) in [
            ("carol@example.test", r#"(NIL NIL "carol" "example.test")"#),
            ("Carol Example <carol@example.test>", r#"("Carol Example" NIL "carol" "example.test")"#),
            (
                "\"Joe Q. Public\" <john.q.public@example.com>",
                r#"("Joe Q. Public" NIL "john.q.public" "example.com")"#,
            ),
            (
                "Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>",
                r#"("Mary Smith" NIL "mary" "x.test")(NIL NIL "jdoe" "example.org")("Who?" NIL "one" "y.test")"#,
            ),
            (
                "<boss@nil.test>, \"Giant; \\\"Big\\\" Box\" <sysservices@example.net>",
                "(NIL NIL \"boss\" \"nil.test\")({16}\r\nGiant; \"Big\" Box NIL \"sysservices\" \"example.net\")",
            ),
            (
                "Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>",
                r#"("Pete" NIL "pete" "silly.test")"#,
            ),
            ("Pete (the) Great <pete@x.test>", r#"("Pete (the) Great" NIL "pete" "x.test")"#),
            ("joe@x.test (Joe (the) User )", r#"("Joe (the) User" NIL "joe" "x.test")"#),
            ("joe@x.test\r\n\t(Joe\r\n )", r#"("Joe" NIL "joe" "x.test")"#),
            ("<joe@x.test (Joe)>", r#"("Joe" NIL "joe" "x.test")"#),
            ("joe at x.test", r#"(NIL NIL "joe" "x.test")"#),
            ("Joe <@node.test,@relay.test:joe@x.test>", r#"("Joe" "@node.test,@relay.test" "joe" "x.test")"#),
            ("\"joe smith\"@x.test", r#"(NIL NIL "joe smith" "x.test")"#),
            ("joe . smith @ x . test", r#"(NIL NIL "joe.smith" "x.test")"#),
            ("joe@[192.0.2.1]", r#"(NIL NIL "joe" "[192.0.2.1]")"#),
            (",joe@x.test,,(c),ann@y.test,", r#"(NIL NIL "joe" "x.test")(NIL NIL "ann" "y.test")"#),
            (
                "Joe\r\n\t<joe@x.test>,\r\n ann@y.test",
                r#"("Joe" NIL "joe" "x.test")(NIL NIL "ann" "y.test")"#,
            ),
            ("", ""),
            ("  (only a comment)", ""),
        ] {
            assert_eq!(printed(list), entries, "{list}");
        }
    }

    #[test]
    fn groups() {
        for (list, entries) in [
            (
                "A Group:Ed Jones <c@a.test>,joe@where.test;",
                r#"(NIL NIL "A Group" NIL)("Ed Jones" NIL "c" "a.test")(NIL NIL "joe" "where.test")(NIL NIL NIL NIL)"#,
            ),
            ("Undisclosed recipients:;", r#"(NIL NIL "Undisclosed recipients" NIL)(NIL NIL NIL NIL)"#),
            (
                "a:b:c@d;;",
                r#"(NIL NIL "a" NIL)(NIL NIL "b" NIL)(NIL NIL "c" "d")(NIL NIL NIL NIL)(NIL NIL NIL NIL)"#,
            ),
            ("g:;, x@y", r#"(NIL NIL "g" NIL)(NIL NIL NIL NIL)(NIL NIL "x" "y")"#),
            ("g: a@b", r#"(NIL NIL "g" NIL)(NIL NIL "a" "b")(NIL NIL NIL NIL)"#),
            (":;", r#"(NIL NIL "" NIL)(NIL NIL NIL NIL)"#),
        ] {
            assert_eq!(printed(list), entries, "{list}");
        }
    }

    #[test]
    fn broken_addresses_give_the_known_entries() {
        for (list, entries) in [
            ("root", r#"(NIL NIL "root" ".MISSING-HOST-NAME.")"#),
            ("Joe <joe>", r#"("Joe" NIL "joe" ".MISSING-HOST-NAME.")"#),
            ("joe@", r#"(NIL NIL "joe" ".SYNTAX-ERROR.")"#),
            ("joe@, ann@y", r#"(NIL NIL "joe" ".SYNTAX-ERROR.")(NIL NIL "ann" "y")"#),
            ("joe@[]", r#"(NIL NIL "joe" ".SYNTAX-ERROR.")"#),
            ("joe@[1.2", r#"(NIL NIL "joe" ".SYNTAX-ERROR.")"#),
            ("<>", r#"(NIL NIL "INVALID_ADDRESS" ".SYNTAX-ERROR.")"#),
            ("a@b, ", r#"(NIL NIL "a" "b")(NIL NIL "INVALID_ADDRESS" ".SYNTAX-ERROR.")"#),
            (
                "Mail Delivery <>",
                r#"(NIL NIL "Mail" ".MISSING-HOST-NAME.")(NIL NIL "UNEXPECTED_DATA_AFTER_ADDRESS" ".SYNTAX-ERROR.")"#,
            ),
            ("a@b c@d", r#"(NIL NIL "a" "b")(NIL NIL "UNEXPECTED_DATA_AFTER_ADDRESS" ".SYNTAX-ERROR.")"#),
            ("Joe <a@b", r#"("Joe" NIL "a" "b")(NIL NIL "MISSING_MAILBOX_TERMINATOR" ".SYNTAX-ERROR.")"#),
            (
                "g:<>;",
                r#"(NIL NIL "g" NIL)(NIL NIL "INVALID_ADDRESS_IN_GROUP" ".SYNTAX-ERROR.")(NIL NIL NIL NIL)"#,
            ),
            (
                "g:a@b c;, d@e",
                r#"(NIL NIL "g" NIL)(NIL NIL "a" "b")(NIL NIL "UNEXPECTED_DATA_AFTER_ADDRESS_IN_GROUP" ".SYNTAX-ERROR.")(NIL NIL NIL NIL)"#,
            ),
            ("\"unbalanced <a@b>", r#"(NIL NIL "INVALID_ADDRESS" ".SYNTAX-ERROR.")"#),
            ("a@b (open", r#"(NIL NIL "a" "b")"#),
        ] {
            assert_eq!(printed(list), entries, "{list}");
        }
    }

    #[test]
    fn first_mailboxes() {
        let local_part =
            |list: &str| first_mailbox(list.as_bytes()).map(|mailbox| mailbox.local_part.into_owned());
        assert_eq!(local_part("g:;, Joe <joe@x>, ann@y"), Some(b"joe".to_vec()));
        assert_eq!(local_part("g:ann@y;"), Some(b"ann".to_vec()));
        assert_eq!(local_part("g:;"), None);
    }

    #[test]
    fn lists_are_written_for_search() {
        let mut out = String::new();
        let list = "=?utf-8?q?Andr=C3=A9_D=2E?= <a.b@c>, \"x y\"@d, Team: e@f;, \"\" <g@h>";
        write_list(list.as_bytes(), &mut out);
        assert_eq!(out, "\"André D.\" <a.b@c>,\"x y\"@d,Team: ,e@f,,g@h");
    }

    #[test]
    fn a_list_of_commas_stays_small() {
        let mut out = String::new();
        write_list("a,".repeat(1 << 19).as_bytes(), &mut out);
        assert!(out.len() < 1 << 20, "{}", out.len());
    }

    #[test]
    fn large_and_deep_fields_take_linear_time() {
        let mut count = 0;
        parse("somebody <a@b.test>, ".repeat(100_000).as_bytes(), |_| count += 1);
        assert_eq!(count, 100_001);
        for piece in [
            "(", "<", "\"", "a:", "[", "a.", "a .", "@", "(a) ", "\\", "a@(", "<@a,", "a \"", ",", "=?",
            "\x1B$B",
        ] {
            let list = piece.repeat(1_000_000);
            let mut count = 0;
            parse(list.as_bytes(), |_| count += 1);
            assert!(count <= 1_000_000, "{piece}");
        }
    }

    proptest! {
        #[test]
        fn any_octets_do(list in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut depth = 0i32;
            let mut out = String::new();
            parse(&list, |entry| match entry {
                Entry::GroupStart(_) => depth += 1,
                Entry::GroupEnd => depth -= 1,
                _ => {}
            });
            prop_assert_eq!(depth, 0);
            write_list(&list, &mut out);
        }

        #[test]
        fn near_addresses_do(list in "[a-c@<>,;:. ()\"\\[\\]\r\n]{0,60}") {
            let mut out = String::new();
            write_list(list.as_bytes(), &mut out);
        }
    }
}
