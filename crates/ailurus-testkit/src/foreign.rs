//! Texts of many languages in the charsets and transfer encodings in which mail has them: for measuring SEARCH.

use crate::random::Random;
use encoding_rs::{
    BIG5, EUC_JP, EUC_KR, Encoding, GBK, ISO_2022_JP, ISO_8859_2, KOI8_R, SHIFT_JIS, UTF_8, WINDOWS_1251,
    WINDOWS_1252, WINDOWS_1253,
};
use std::fmt::Write as _;

const WEST: &str = "für viele Größe naïve façade déjà vu über allen Gipfeln ist Ruh señor mañana crème brûlée ça va très bien";
const EAST: &str = "žádný člověk není ostrov příliš zajímavé łódź źródło wczoraj będzie węgierski őszi szél";
const RUSSIAN: &str =
    "все счастливые семьи похожи друг на друга каждая несчастливая семья несчастлива по своему";
const GREEK: &str = "μῆνιν ἄειδε καλημέρα κόσμε ταχίστη αλώπηξ βαφής ψημένη γη";
const JAPANESE: &str = "吾輩は猫である 名前はまだ無い どこで生れたか とんと見当がつかぬ 会議の資料を送ります";
const CHINESE: &str = "道可道非常道 名可名非常名 会议时间 附件 请查收 谢谢 天下皆知美之为美";
const TAIWAN: &str = "道可道非常道 名可名非常名 會議時間 附件 請查收 謝謝 天下皆知美之為美";
const KOREAN: &str = "나랏말싸미 듕귁에 달아 회의 시간 첨부 파일을 보내드립니다 감사합니다";

/// Language, charset, its label, and whether it goes as base64, as quoted-printable, or as it is.
const KINDS: [(&str, &Encoding, &str, &str); 16] = [
    (WEST, UTF_8, "utf-8", "quoted-printable"),
    (WEST, UTF_8, "utf-8", "base64"),
    (WEST, WINDOWS_1252, "iso-8859-1", "quoted-printable"),
    (WEST, WINDOWS_1252, "windows-1252", "8bit"),
    (EAST, ISO_8859_2, "iso-8859-2", "quoted-printable"),
    (RUSSIAN, KOI8_R, "koi8-r", "base64"),
    (RUSSIAN, WINDOWS_1251, "windows-1251", "8bit"),
    (RUSSIAN, UTF_8, "utf-8", "base64"),
    (GREEK, WINDOWS_1253, "windows-1253", "base64"),
    (JAPANESE, ISO_2022_JP, "iso-2022-jp", "7bit"),
    (JAPANESE, UTF_8, "utf-8", "base64"),
    (JAPANESE, SHIFT_JIS, "shift_jis", "base64"),
    (JAPANESE, EUC_JP, "euc-jp", "8bit"),
    (CHINESE, GBK, "gb2312", "base64"),
    (TAIWAN, BIG5, "big5", "base64"),
    (KOREAN, EUC_KR, "ks_c_5601-1987", "base64"),
];

/// Appends the header fields of a body and the body, with LF line ends.
pub(crate) fn body(random: &mut Random, lines: usize, out: &mut Vec<u8>) {
    let (language, encoding, label, transfer) = *random.pick(&KINDS);
    let words: Vec<&str> = language.split(' ').collect();
    let mut text = String::new();
    for _ in 0..lines {
        for _ in 0..8 {
            let word: &&str = random.pick(&words);
            text.push_str(word);
            text.push(' ');
        }
        text.push_str("re: 2026\n");
    }
    let (octets, ..) = encoding.encode(&text);
    let fields =
        format!("Content-Type: text/plain; charset={label}\nContent-Transfer-Encoding: {transfer}\n\n");
    out.extend_from_slice(fields.as_bytes());
    match transfer {
        "base64" => base64(&octets, out),
        "quoted-printable" => quoted_printable(&octets, out),
        _ => out.extend_from_slice(&octets),
    }
}

fn base64(octets: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for line in octets.chunks(57) {
        for group in line.chunks(3) {
            let bits = [0, 1, 2].map(|at| u32::from(group.get(at).copied().unwrap_or(0)));
            let bits = bits[0] << 16 | bits[1] << 8 | bits[2];
            for place in 0..4_usize {
                let digit = usize::try_from(bits >> (18 - 6 * place) & 63).unwrap_or(0);
                out.push(if place <= group.len() { DIGITS[digit] } else { b'=' });
            }
        }
        out.push(b'\n');
    }
}

fn quoted_printable(octets: &[u8], out: &mut Vec<u8>) {
    let mut column = 0;
    for &octet in octets {
        if octet == b'\n' {
            out.push(octet);
            column = 0;
            continue;
        }
        let mut piece = String::new();
        match octet {
            b'=' | 0x80.. => {
                let _ = write!(piece, "={octet:02X}");
            }
            _ => piece.push(char::from(octet)),
        }
        if column + piece.len() > 75 {
            out.extend_from_slice(b"=\n");
            column = 0;
        }
        column += piece.len();
        out.extend_from_slice(piece.as_bytes());
    }
}
