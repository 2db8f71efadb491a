//! SEARCH in every charset under every label, over texts that others encoded (`fixtures/charsets`).

use super::*;
use ailurus_charset::Charset;

struct Sample {
    charset: Charset,
    octets: Vec<u8>,
    text: String,
}

fn samples() -> Vec<Sample> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/charsets/samples.txt");
    let text = std::fs::read_to_string(file).expect("the samples are there");
    let sample = |line: &str| {
        let fields: Vec<_> = line.split('\t').collect();
        let [charset, _by, hex, text] = fields[..] else { panic!("{line}") };
        let octet = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("it is hexadecimal");
        Sample {
            charset: Charset::for_label(charset.as_bytes()).expect("the label is known"),
            octets: (0..hex.len()).step_by(2).map(octet).collect(),
            text: text.into(),
        }
    };
    text.lines().map(sample).collect()
}

fn base64(octets: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in octets.chunks(3) {
        let bits =
            group.iter().fold(0, |bits, &octet| bits << 8 | u32::from(octet)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = DIGITS[usize::try_from(bits >> (18 - 6 * place) & 63).expect("it is small")];
            out.push(if place <= group.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

/// Each octet after a sign: `=` for quoted-printable, `%` for RFC 2231.
fn escaped(octets: &[u8], sign: char) -> String {
    octets.iter().map(|octet| format!("{sign}{octet:02X}")).collect()
}

/// Messages with a text, each in one place and one encoding.
fn messages(label: &str, octets: &[u8]) -> Vec<Vec<u8>> {
    let body = |encoding: &str, body: &[u8]| {
        let header = format!(
            "Subject: none\r\nContent-Type: text/plain; charset=\"{label}\"\r\n\
            Content-Transfer-Encoding: {encoding}\r\n\r\n"
        );
        [header.as_bytes(), body, b"\r\n"].concat()
    };
    let soft: String = octets.chunks(7).map(|piece| escaped(piece, '=') + "=\r\n").collect();
    vec![
        format!("Subject: =?{label}?B?{}?=\r\n\r\nx\r\n", base64(octets)).into(),
        format!("Subject: =?{label}*en?q?{}?=\r\n\r\nx\r\n", escaped(octets, '=')).into(),
        body("base64", base64(octets).as_bytes()),
        body("quoted-printable", soft.as_bytes()),
        body("8bit", octets),
        format!("Content-Disposition: attachment; filename*={label}''{}\r\n\r\nx\r\n", escaped(octets, '%'))
            .into(),
    ]
}

#[test]
fn every_charset_under_every_label() {
    for sample in samples() {
        let wide = sample.charset.name().starts_with("UTF-16") || sample.charset.name().starts_with("UTF-32");
        for label in sample.charset.labels() {
            let messages = messages(label, &sample.octets);
            let with_other = messages.iter().map(Vec::as_slice).chain(ALL).collect::<Vec<_>>();
            // A text of wide characters cannot stand as it is in mail: its line ends are none.
            let expected: Vec<u32> = if wide { vec![1, 2, 3, 4, 6] } else { vec![1, 2, 3, 4, 5, 6] };
            let key = |octets: &[u8]| SearchKey::Text(octets.to_vec());
            let find = |charset: &str, key| {
                let mut found = found_in(&with_other, Some(charset), key).expect("the charset is known");
                found.retain(|number| !wide || *number != 5);
                found
            };
            assert_eq!(find(label, key(&sample.octets)), expected, "{label}: {}", sample.text);
            assert_eq!(find("UTF-8", key(sample.text.as_bytes())), expected, "{label}: {}", sample.text);
            let part: String = sample.text.chars().skip(1).collect::<String>().to_lowercase();
            assert_eq!(find("UTF-8", key(part.as_bytes())), expected, "{label}: {part}");
            let subject = SearchKey::Subject(sample.octets.clone());
            assert_eq!(find(label, subject), [1, 2], "{label}: {}", sample.text);
            let name = ailurus_types::HeaderName("Content-Disposition".into());
            let name = SearchKey::Header(name, sample.text.clone().into_bytes());
            assert_eq!(find("UTF-8", name), [6], "{label}: {}", sample.text);
        }
    }
}

#[test]
fn raw_headers_are_in_the_charset_of_the_text() {
    for Sample { charset, octets, text } in samples() {
        if octets.contains(&0) || ["UTF-7", "HZ-GB-2312"].contains(&charset.name()) {
            continue;
        }
        let header = |order: bool| {
            let content = format!("Content-Type: text/plain; charset={}\r\n", charset.name()).into_bytes();
            let subject = [b"Subject: ", &octets[..], b"\r\n"].concat();
            let fields = if order { [content, subject] } else { [subject, content] };
            [&fields.concat()[..], b"\r\nx\r\n"].concat()
        };
        for message in [header(false), header(true)] {
            for key in [SearchKey::Subject(text.clone().into()), SearchKey::Text(text.clone().into())] {
                assert_eq!(found_in(&[&message], Some("UTF-8"), key), Ok(vec![1]), "{charset:?}: {text}");
            }
        }
    }
}

#[test]
fn text_in_pieces_of_parameters_is_found() {
    let message =
        b"Content-Disposition: attachment; filename*0=\"sum\";\r\n filename*1=mary.txt\r\n\r\nx\r\n";
    let encoded = b"Content-Type: text/plain; name*=us-ascii''summ%61ry\r\n\r\nx\r\n";
    assert_eq!(found(&[message, encoded, b"Subject: x*1\r\n\r\nsum mary"], text("summary")), [1, 2]);
    assert_eq!(found(&[message, encoded], body("summary")), [] as [u32; 0]);
}

#[test]
fn a_header_field_of_ten_megabytes_takes_a_moment() {
    let start = std::time::Instant::now();
    for piece in [
        &b"=?utf-8?q?=C3?= "[..],
        b"=?iso-2022-jp?b?GyRCRnwbKEI=?= ",
        b"=?utf-7?q?+2AA?= =?koi8-r?q?x?=",
        b"; a*0*=utf-8''%C3; b*1*=x",
        b"=?x?",
        b"\x1b$B\x1b(",
        b"\xff",
    ] {
        for name in [&b"Subject: "[..], b"Content-Type: a/b"] {
            // One of the sort in full, since this build is a slow one.
            let size = if piece.starts_with(b"=?utf-8") && name.len() == 9 { 10_000_000 } else { 200_000 };
            let message = [name, &piece.repeat(size / piece.len()), b"\r\n\r\nx"].concat();
            assert_eq!(found(&[&message], text("zyxw")), [] as [u32; 0]);
            assert_eq!(found(&[&message], SearchKey::Subject("zyxw".into())), [] as [u32; 0]);
        }
    }
    assert!(start.elapsed().as_secs() < 90, "{:?}", start.elapsed());
}
