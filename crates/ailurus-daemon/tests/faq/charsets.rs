//! 1.12: mail and searches in all the charsets that the FAQ names, and some more.

use crate::support::Client;
use crate::{at_home, refused};
use base64::{Engine, engine::general_purpose::STANDARD};

/// Charset, a word, and its octets in that charset, as iconv and Python make them.
const WORDS: [(&str, &str, &str); 55] = [
    ("ISO-8859-1", "grüße", "6772fcdf65"),
    ("ISO-8859-2", "žluťoučký", "be6c75bb6f75e86bfd"),
    ("ISO-8859-3", "ĉiuĵaŭde", "e66975bc61fd6465"),
    ("ISO-8859-4", "šķērš", "b9f3ba72b9"),
    ("ISO-8859-5", "почта", "dfdee7e2d0"),
    ("ISO-8859-6", "بريد", "c8d1eacf"),
    ("ISO-8859-7", "γράμμα", "e3f1dcecece1"),
    ("ISO-8859-8", "דואר", "e3e5e0f8"),
    ("ISO-8859-9", "ışık", "fdfefd6b"),
    ("ISO-8859-10", "þjóð", "fe6af3f0"),
    ("ISO-8859-11", "จดหมาย", "a8b4cbc1d2c2"),
    ("ISO-8859-13", "žąsis", "fee0736973"),
    ("ISO-8859-14", "ŵyrŷ", "f07972fe"),
    ("ISO-8859-15", "cœur", "63bd7572"),
    ("ISO-8859-16", "știință", "ba7469696efee3"),
    ("KOI8-R", "почта", "d0cfded4c1"),
    ("KOI8-U", "пошта", "d0cfdbd4c1"),
    ("KOI8-RU", "пошта", "d0cfdbd4c1"),
    ("TIS-620", "จดหมาย", "a8b4cbc1d2c2"),
    ("VISCII", "thư tín", "7468df2074ed6e"),
    ("ISO-2022-JP", "日本語の手紙", "1b2442467c4b5c386c244e3c6a3b661b2842"),
    ("ISO-2022-JP-1", "日本語の手紙", "1b2442467c4b5c386c244e3c6a3b661b2842"),
    ("ISO-2022-JP-2", "日本語の手紙", "1b2442467c4b5c386c244e3c6a3b661b2842"),
    ("ISO-2022-KR", "편지", "1b2429430e466d41760f"),
    ("ISO-2022-CN", "中文信件", "1b2429410e56504e4450453c7e0f"),
    ("GB2312", "中文信件", "d6d0cec4d0c5bcfe"),
    ("CN-GB", "中文信件", "d6d0cec4d0c5bcfe"),
    ("CN-GB-12345", "中文信件", "d6d0cec4d0c5bcfe"),
    ("BIG5", "中文信件", "a4a4a4e5ab48a5f3"),
    ("EUC-JP", "日本語の手紙", "c6fccbdcb8eca4cebceabbe6"),
    ("EUC-KR", "편지", "c6edc1f6"),
    ("Shift_JIS", "日本語の手紙", "93fa967b8cea82cc8ee88e86"),
    ("KS_C_5601-1987", "편지", "c6edc1f6"),
    ("KS_C_5601-1992", "편지", "c6edc1f6"),
    ("WINDOWS-874", "จดหมาย", "a8b4cbc1d2c2"),
    ("WINDOWS-1250", "žluťoučký", "9e6c759d6f75e86bfd"),
    ("WINDOWS-1251", "почта", "efeef7f2e0"),
    ("WINDOWS-1252", "grüße", "6772fcdf65"),
    ("WINDOWS-1253", "γράμμα", "e3f1dcecece1"),
    ("WINDOWS-1254", "ışık", "fdfefd6b"),
    ("WINDOWS-1255", "דואר", "e3e5e0f8"),
    ("WINDOWS-1256", "بريد", "c8d1edcf"),
    ("WINDOWS-1257", "žąsis", "fee0736973"),
    ("WINDOWS-1258", "thôn", "7468f46e"),
    ("UTF-8", "日本語の手紙", "e697a5e69cace8aa9ee381aee6898be7b499"),
    ("UTF-7", "日本語の手紙", "2b5a65566e4c4971654d4735695333305a2d"),
    ("UTF-16", "日本語の手紙", "fffee5652c679e8a6e304b62197d"),
    ("GB18030", "中文信件", "d6d0cec4d0c5bcfe"),
    ("GBK", "中文信件", "d6d0cec4d0c5bcfe"),
    ("IBM850", "grüße", "677281e165"),
    ("IBM866", "почта", "afaee7e2a0"),
    ("macintosh", "grüße", "67729fa765"),
    ("HZ-GB-2312", "中文信件", "7e7b56504e4450453c7e7e7d"),
    ("EUC-JP", "ﾃｶﾞﾐ", "8ec38eb68ede8ed0"),
    ("EUC-JP", "丂丄", "8fb0a18fb0a2"),
];

fn octets(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("ASCII"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal")).collect()
}

/// Searches, and returns the numbers that were found.
fn search(client: &mut Client, charset: &str, key: &str, text: &[u8]) -> Vec<usize> {
    let start = format!("s SEARCH CHARSET {charset} {key} {{{}+}}\r\n", text.len());
    client.send(&[start.as_bytes(), text, b"\r\n"].concat());
    let mut found = Vec::new();
    loop {
        let line = client.line(crate::support::PATIENCE).expect("an answer").expect("an answer");
        let line = String::from_utf8_lossy(&line).into_owned();
        if let Some(numbers) = line.strip_prefix("* SEARCH") {
            found = numbers.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        } else if line.starts_with("s ") {
            assert!(line.starts_with("s OK"), "{charset} {key}: {line}");
            return found;
        }
    }
}

/// The header as encoded-words and the body in base64, searched in the message's own charset and in UTF-8.
#[test]
fn faq_1_12_search_in_all_charsets() {
    let (_user, mut session) = at_home();
    let client = &mut session.client;
    client.ok("CREATE box");
    client.append("box", "", "Subject: plain\n\nPlain.\n");
    for (charset, _, hex) in WORDS {
        let word = STANDARD.encode(octets(hex));
        let text = format!(
            "Subject: =?{charset}?B?{word}?=\nMIME-Version: 1.0\nContent-Type: text/plain; charset={charset}\n\
             Content-Transfer-Encoding: base64\n\n{word}\n"
        );
        client.append("box", "", &text);
    }
    client.ok("SELECT box");
    for (number, (charset, word, hex)) in (2..).zip(WORDS) {
        for key in ["SUBJECT", "BODY", "TEXT"] {
            for (charset, text) in [(charset, octets(hex)), ("UTF-8", word.as_bytes().to_vec())] {
                let found = search(client, charset, key, &text);
                assert!(found.contains(&number), "{number}, {word} in {charset}, {key}: {found:?}");
                assert!(!found.contains(&1), "{word} in {charset}, {key}: {found:?}");
            }
        }
    }
    let text = refused(client, "SEARCH CHARSET X-UNKNOWN TEXT x");
    assert!(
        text.starts_with("NO [BADCHARSET (") && text.contains(" KOI8-R ") && text.contains("UTF-8"),
        "{text}"
    );
}
