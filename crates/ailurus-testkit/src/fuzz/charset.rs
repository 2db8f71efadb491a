//! Texts in charsets, and encoded words.

use super::checkout;
use ailurus_charset::{Charset, Decoder, casemapped};
use ailurus_message::{PartDecoder, content, words as encoded};
use std::fs;

/// Decodes the input but for its first octet, which chooses the charset: at once and in pieces, which must agree and be
/// bounded, and mapping cases twice changes nothing.
pub fn charsets(input: &[u8]) {
    let Some((&selector, text)) = input.split_first() else { return };
    let charsets: Vec<Charset> = Charset::all().collect();
    let charset = charsets[usize::from(selector) % charsets.len()];
    let mut whole = String::new();
    charset.decode(text, &mut whole);
    assert!(whole.len() <= 4 * text.len() + 8, "{charset:?}: {} from {}", whole.len(), text.len());
    for size in [1, 2, 3, 7] {
        let mut decoder = Decoder::new(charset);
        let mut pieces = String::new();
        for piece in text.chunks(size) {
            decoder.push(piece, &mut pieces);
        }
        decoder.finish(&mut pieces);
        assert_eq!(pieces, whole, "{charset:?}: pieces of {size} matter");
    }
    let mapped = casemapped(&whole);
    assert!(mapped.len() <= 12 * whole.len(), "{} from {}", mapped.len(), whole.len());
    assert_eq!(casemapped(&mapped), mapped);
}

/// Decodes the input as a header field, whatever raw octets are in, as parameters, and as a body in either encoding.
pub fn encoded_words(input: &[u8]) {
    let koi8 = Charset::for_label(b"koi8-r");
    for raw in [None, koi8] {
        let text = encoded::decode_or(input, raw);
        assert!(text.len() <= 4 * input.len() + 8, "{} from {}", text.len(), input.len());
    }
    if let Some(parsed) = content::ContentType::parse(input) {
        let text = parsed.parameters.extended();
        assert!(text.len() <= 4 * input.len() + 8, "{} from {}", text.len(), input.len());
    }
    let label = input.split(|octet| *octet == b'?').nth(1);
    for encoding in [content::Encoding::Base64, content::Encoding::QuotedPrintable] {
        let decode = |size: usize| {
            let mut decoder = PartDecoder::with(encoding, label);
            let mut out = String::new();
            for piece in input.chunks(size) {
                decoder.push(piece, &mut out);
            }
            decoder.finish(&mut out);
            out
        };
        assert_eq!(decode(3), decode(input.len().max(1)), "pieces matter");
    }
}

fn samples() -> Vec<(String, Vec<u8>)> {
    let path = checkout().join("fixtures/charsets/samples.txt");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let octets = |hex: &str| {
        (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap_or(0)).collect()
    };
    let sample = |line: &str| {
        let mut fields = line.split('\t');
        let (name, _by, hex) = (fields.next()?, fields.next()?, fields.next()?);
        Some((name.to_owned(), octets(hex)))
    };
    text.lines().filter_map(sample).collect()
}

/// The samples, each behind the number of its charset.
pub(super) fn texts() -> Vec<Vec<u8>> {
    let number = |name: &str| Charset::all().position(|charset| charset.name() == name);
    let text = |(name, octets): (String, Vec<u8>)| {
        let selector = u8::try_from(number(&name)?).ok()?;
        Some([vec![selector], octets].concat())
    };
    samples().into_iter().filter_map(text).collect()
}

/// The samples as encoded words, and as parameters.
pub(super) fn words() -> Vec<Vec<u8>> {
    let escaped = |octets: &[u8], sign: char| -> String {
        octets.iter().map(|octet| format!("{sign}{octet:02X}")).collect()
    };
    let both = |(name, octets): (String, Vec<u8>)| {
        [
            format!("=?{name}?Q?{}?= =?{name}*en?b?5pel?= x", escaped(&octets, '=')),
            format!("text/plain; name*0*={name}''{}; name*1=x", escaped(&octets, '%')),
        ]
    };
    samples().into_iter().flat_map(both).map(String::into_bytes).collect()
}
