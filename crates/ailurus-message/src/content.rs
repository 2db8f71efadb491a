//! The values of `Content-*:` fields (RFC 2045, 2183, 3282) and their parameters (RFC 2231).

use std::borrow::Cow;

use ailurus_charset::Charset;

use crate::{
    lex::{self, skip_space, unquote, word},
    words,
};

/// How a body is encoded for transport (RFC 2045 §6).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Encoding {
    /// `7BIT`, the default.
    #[default]
    SevenBit,
    /// `8BIT`.
    EightBit,
    /// `BINARY`.
    Binary,
    /// `BASE64`.
    Base64,
    /// `QUOTED-PRINTABLE`.
    QuotedPrintable,
    /// Any other.
    Other,
}

impl Encoding {
    /// Returns whether the body stands as it is.
    pub fn is_identity(self) -> bool {
        matches!(self, Self::SevenBit | Self::EightBit | Self::Binary)
    }

    fn named(name: &[u8]) -> Self {
        const NAMES: [(&str, Encoding); 5] = [
            ("7BIT", Encoding::SevenBit),
            ("8BIT", Encoding::EightBit),
            ("BINARY", Encoding::Binary),
            ("BASE64", Encoding::Base64),
            ("QUOTED-PRINTABLE", Encoding::QuotedPrintable),
        ];
        let known = NAMES.iter().find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name));
        known.map_or(Self::Other, |&(_, encoding)| encoding)
    }
}

/// Reads the value of `Content-Transfer-Encoding:`: the encoding and its name as written. `None` if there is none.
pub fn transfer_encoding(value: &[u8]) -> Option<(Encoding, Cow<'_, [u8]>)> {
    let (start, end) = word(value, 0, &lex::TOKEN)?;
    let name = unquote(value.get(start..end)?);
    Some((Encoding::named(&name), name))
}

/// The value of `Content-Type:`.
#[derive(Clone, Debug)]
pub struct ContentType<'a> {
    /// The type as written.
    pub media_type: Cow<'a, [u8]>,
    /// The subtype as written, if there is one.
    pub subtype: Option<Cow<'a, [u8]>>,
    /// The parameters.
    pub parameters: Parameters<'a>,
}

impl<'a> ContentType<'a> {
    /// Reads the value of a field, still folded. `None` if it does not begin with a word.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let (start, end) = word(value, 0, &lex::TOKEN)?;
        let media_type = unquote(value.get(start..end)?);
        let mut at = skip_space(value, end);
        let mut subtype = None;
        if value.get(at) == Some(&b'/') {
            at += 1;
            if let Some((start, end)) = word(value, at, &lex::TOKEN) {
                subtype = value.get(start..end).map(unquote);
                at = end;
            }
            at = skip_space(value, at);
        }
        Some(Self { media_type, subtype, parameters: Parameters::new(value, at) })
    }
}

/// Reads the value of `Content-Disposition:`: its type as written, and its parameters. `None` if there is no type.
pub fn disposition(value: &[u8]) -> Option<(&[u8], Parameters<'_>)> {
    let (start, end) = word(value, 0, &lex::TOKEN)?;
    Some((value.get(start..end)?, Parameters::new(value, skip_space(value, end))))
}

/// Returns the languages of `Content-Language:` as written.
pub fn languages(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut next = Some(0);
    std::iter::from_fn(move || {
        let (start, end) = word(value, next?, &lex::TOKEN)?;
        let after = skip_space(value, end);
        next = (value.get(after) == Some(&b',')).then_some(after + 1);
        value.get(start..end)
    })
}

/// The parameters of a field, as they stand: continuations and charsets of RFC 2231 are neither joined nor decoded.
#[derive(Clone, Debug)]
pub struct Parameters<'a> {
    value: &'a [u8],
    at: Option<usize>,
}

impl<'a> Parameters<'a> {
    fn new(value: &'a [u8], at: usize) -> Self {
        Self { value, at: Some(at) }
    }

    /// Returns the value of the first parameter `name`, which is told without regard to case.
    pub fn get(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        self.clone()
            .find(|parameter| parameter.name.eq_ignore_ascii_case(name.as_bytes()))
            .map(|found| found.value)
    }

    /// Returns what parameter `name` means as text: joined and decoded after RFC 2231, or else, as many senders do it,
    /// after RFC 2047.
    pub fn decoded(&self, name: &str) -> Option<String> {
        let mut pieces: Vec<Piece<'a>> = Vec::new();
        let mut plain = None;
        for parameter in self.clone() {
            match rfc2231_section(parameter.name, name) {
                Some(Section::Plain) => {
                    plain.get_or_insert(parameter.value);
                }
                Some(Section::Piece { number, extended }) => pieces.push((number, extended, parameter.value)),
                None => {}
            }
        }
        if pieces.is_empty() {
            return plain.map(|value| words::decode(&value));
        }
        pieces.sort_by_key(|&(number, ..)| number);
        Some(join_pieces(&pieces))
    }

    /// Returns the text of all parameters in the forms of RFC 2231, each on a line of its own.
    pub fn extended(&self) -> String {
        let mut found: Vec<(Vec<u8>, Piece<'a>)> = Vec::new();
        for parameter in self.clone() {
            let Some(star) = memchr::memchr(b'*', parameter.name) else { continue };
            let name = parameter.name[..star].to_ascii_lowercase();
            let Some(Section::Piece { number, extended }) = section(&parameter.name[star..]) else {
                continue;
            };
            found.push((name, (number, extended, parameter.value)));
        }
        found.sort_by(|(name, piece), (other, another)| name.cmp(other).then(piece.0.cmp(&another.0)));
        let mut text = String::new();
        for pieces in found.chunk_by(|(name, _), (other, _)| name == other) {
            let pieces: Vec<Piece<'_>> = pieces.iter().map(|(_, piece)| piece.clone()).collect();
            text.push_str(&join_pieces(&pieces));
            text.push('\n');
        }
        text
    }
}

/// A part of a value that goes on over several parameters: its number, whether it is encoded, and its octets.
type Piece<'a> = (u32, bool, Cow<'a, [u8]>);

/// One parameter of a field.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Parameter<'a> {
    /// The name as written.
    pub name: &'a [u8],
    /// The value, unquoted; `MISSING_PARAMETER_VALUE` where it is missing or its quotes do not end.
    pub value: Cow<'a, [u8]>,
}

impl<'a> Iterator for Parameters<'a> {
    type Item = Parameter<'a>;

    fn next(&mut self) -> Option<Parameter<'a>> {
        let at = self.at.take()?;
        if self.value.get(at) != Some(&b';') {
            return None;
        }
        let (start, end) = word(self.value, at + 1, &lex::TOKEN)?;
        let name = self.value.get(start..end)?;
        let mut at = skip_space(self.value, end);
        let mut value = None;
        if self.value.get(at) == Some(&b'=') {
            // Without a readable value the rest of the field is ignored.
            let found = word(self.value, at + 1, &lex::VALUE);
            value = found.and_then(|(start, end)| self.value.get(start..end)).map(unquote);
            at = found.map_or(self.value.len(), |(_, end)| skip_space(self.value, end));
        }
        self.at = Some(at);
        Some(Parameter { name, value: value.unwrap_or(Cow::Borrowed(b"MISSING_PARAMETER_VALUE")) })
    }
}

enum Section {
    Plain,
    Piece { number: u32, extended: bool },
}

/// Tells which piece of parameter `name` a parameter is that is called `written`: `name`, `name*`, `name*1`, `name*1*`.
fn rfc2231_section(written: &[u8], name: &str) -> Option<Section> {
    let (start, rest) = written.split_at_checked(name.len())?;
    if !start.eq_ignore_ascii_case(name.as_bytes()) {
        return None;
    }
    section(rest)
}

/// Reads what follows the name of a parameter.
fn section(rest: &[u8]) -> Option<Section> {
    match rest {
        [] => Some(Section::Plain),
        [b'*'] => Some(Section::Piece { number: 0, extended: true }),
        [b'*', number @ ..] => {
            let digits = number.strip_suffix(b"*");
            let text = str::from_utf8(digits.unwrap_or(number)).ok()?;
            Some(Section::Piece { number: text.parse().ok()?, extended: digits.is_some() })
        }
        _ => None,
    }
}

fn join_pieces(pieces: &[Piece<'_>]) -> String {
    let mut charset = None;
    let mut octets = Vec::new();
    for (index, (_, extended, value)) in pieces.iter().enumerate() {
        let mut value: &[u8] = value;
        if index == 0 && *extended {
            let mut fields = value.splitn(3, |&octet| octet == b'\'');
            if let (Some(label), Some(_language), Some(text)) = (fields.next(), fields.next(), fields.next())
            {
                charset = Charset::for_label(label);
                value = text;
            }
        }
        if *extended {
            percent_decode(value, &mut octets);
        } else {
            octets.extend_from_slice(value);
        }
    }
    match charset {
        Some(charset) => {
            let mut text = String::new();
            charset.decode(&octets, &mut text);
            text
        }
        None => ailurus_charset::header_to_utf8(&octets).into_owned(),
    }
}

fn percent_decode(value: &[u8], out: &mut Vec<u8>) {
    let mut rest = value;
    while let Some((&octet, after)) = rest.split_first() {
        rest = after;
        if octet == b'%'
            && let [high, low, after @ ..] = rest
            && let (Some(high), Some(low)) = (crate::decode::hex_digit(*high), crate::decode::hex_digit(*low))
        {
            out.push(high << 4 | low);
            rest = after;
        } else {
            out.push(octet);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parameters(value: &str) -> Vec<(String, String)> {
        let parsed = ContentType::parse(value.as_bytes()).expect("a type");
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        parsed.parameters.map(|parameter| (text(parameter.name), text(&parameter.value))).collect()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.into(), value.into())
    }

    #[test]
    fn types_and_parameters() {
        let parsed = ContentType::parse(b"(c) text (x)/ (y) plain; a=b").expect("a type");
        assert_eq!((&*parsed.media_type, parsed.subtype.as_deref()), (&b"text"[..], Some(&b"plain"[..])));
        assert_eq!(
            parameters("a/b; x=\"y;z\" ;\r\n\tq = r (c); s"),
            [pair("x", "y;z"), pair("q", "r"), pair("s", "MISSING_PARAMETER_VALUE")]
        );
        assert_eq!(parameters("a/b; x=; y=z"), [pair("x", "MISSING_PARAMETER_VALUE")]);
        assert_eq!(parameters("a/b; x=\"y"), [pair("x", "MISSING_PARAMETER_VALUE")]);
        assert_eq!(parameters("a/b; x=\"\";"), [pair("x", "")]);
        assert_eq!(parameters("a/b; boundary=----=_Part/1?"), [pair("boundary", "----=_Part/1?")]);
        assert_eq!(parameters("a/b; name=my file.txt; x=y"), [pair("name", "my")]);
        assert_eq!(parameters("a; x=y"), [pair("x", "y")]);
        assert!(ContentType::parse(b" /plain").is_none());
    }

    #[test]
    fn rfc_2231_examples() {
        let get = |value: &str, name| {
            ContentType::parse(value.as_bytes()).expect("a type").parameters.decoded(name)
        };
        let url = "message/external-body; access-type=URL;\r\n URL*0=\"ftp://\";\r\n \
            URL*1=\"cs.utk.edu/pub/moore/bulk-mailer/bulk-mailer.tar\"";
        assert_eq!(
            get(url, "url").as_deref(),
            Some("ftp://cs.utk.edu/pub/moore/bulk-mailer/bulk-mailer.tar")
        );
        let title = "application/x-stuff; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A";
        assert_eq!(get(title, "title").as_deref(), Some("This is ***fun***"));
        let title = "application/x-stuff; title*1*=%2A%2A%2Afun%2A%2A%2A%20;\r\n \
            title*0*=us-ascii'en'This%20is%20even%20more%20; title*2=\"isn't it!\"";
        assert_eq!(get(title, "title").as_deref(), Some("This is even more ***fun*** isn't it!"));
        assert_eq!(get("a/b; name=\"=?utf-8?q?caf=C3=A9?=\"", "name").as_deref(), Some("café"));
        assert_eq!(get("a/b; name*=utf-8''caf%C3%A9", "name").as_deref(), Some("café"));
        assert_eq!(get("a/b; name*=nonsense", "name").as_deref(), Some("nonsense"));
        assert_eq!(get("a/b; name*=koi8-r'ru'%F0%D2%C9", "name").as_deref(), Some("При"));
        let all = "a/b; x*1*=%A9; name*=iso-8859-1'en'caf%E9; x*0*=utf-8''%C3; y=z; z*x=1";
        let all = ContentType::parse(all.as_bytes()).expect("a type").parameters.extended();
        assert_eq!(all, "café\né\n");
        assert_eq!(get("a/b; names=x", "name"), None);
    }

    #[test]
    fn other_fields() {
        assert_eq!(
            transfer_encoding(b" (c) Base64 ; x").map(|(encoding, _)| encoding),
            Some(Encoding::Base64)
        );
        assert_eq!(transfer_encoding(b"x-uue").map(|(encoding, _)| encoding), Some(Encoding::Other));
        assert_eq!(transfer_encoding(b"").map(|(encoding, _)| encoding), None);
        assert_eq!(languages(b"en, (c) de ,fr x").collect::<Vec<_>>(), [&b"en"[..], b"de", b"fr"]);
        let (kind, mut parameters) = disposition(b"attachment; filename=\"x.bin\"").expect("a disposition");
        assert_eq!(kind, b"attachment");
        assert_eq!(parameters.next().map(|found| found.value), Some(Cow::Borrowed(&b"x.bin"[..])));
    }

    proptest! {
        #[test]
        fn any_octets_do(value in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(parsed) = ContentType::parse(&value) {
                let _count = parsed.parameters.clone().count();
                let _text = parsed.parameters.decoded("name");
                let _text = parsed.parameters.extended();
            }
            let _languages = languages(&value).count();
        }
    }
}
