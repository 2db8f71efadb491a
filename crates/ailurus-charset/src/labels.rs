//! The charsets, and the labels under which mail has them.
//!
//! Labels are compared as Unicode's TS #22 says: letter case, punctuation and zeros before a number do not matter, so that
//! `ISO_8859-1`, `iso8859-1` and `iso-8859-01` are one. A prefix `x-` or `cs` does not matter either where the rest
//! is a label by itself. What is missing here may be a label of the WHATWG's.

use crate::charset::{Kind, Order};
use crate::iso2022::Shifted;
use crate::tables::{Pairs, Single};
use encoding_rs as rs;
use std::sync::LazyLock;

/// A charset and all that is known of it.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The name by which MIME knows it.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Its other names, between spaces.
    pub(crate) labels: &'static str,
}

const fn web(name: &'static str, encoding: &'static rs::Encoding, labels: &'static str) -> Entry {
    Entry { name, kind: Kind::Web(encoding), labels }
}

const fn own(name: &'static str, kind: Kind, labels: &'static str) -> Entry {
    Entry { name, kind, labels }
}

const fn single(name: &'static str, table: &'static Single, labels: &'static str) -> Entry {
    Entry { name, kind: Kind::Single(table), labels }
}

/// Returns the charset of a label, or `None` for an unknown one.
pub(crate) fn find(label: &[u8]) -> Option<&'static Entry> {
    let mut buffer = [0; MOST];
    let label = reduce(label, &mut buffer)?;
    let known = |label: &[u8]| {
        let index = INDEX.binary_search_by(|(known, _)| (**known).cmp(label)).ok()?;
        CHARSETS.get(usize::from(INDEX.get(index)?.1))
    };
    let prefixed = || label.strip_prefix(b"x").or_else(|| label.strip_prefix(b"cs"));
    known(label).or_else(|| known(prefixed()?))
}

/// Longer labels, in letters and digits, are unknown.
const MOST: usize = 48;

/// Returns the letters and digits of a label, in lower case and without zeros before a number.
fn reduce<'b>(label: &[u8], buffer: &'b mut [u8; MOST]) -> Option<&'b [u8]> {
    let mut length = 0;
    let mut after_digit = false;
    for (at, &octet) in label.iter().enumerate() {
        let is_zero = octet == b'0' && !after_digit && label.get(at + 1).is_some_and(u8::is_ascii_digit);
        after_digit = octet.is_ascii_digit() && !is_zero;
        if octet.is_ascii_alphanumeric() && !is_zero {
            *buffer.get_mut(length)? = octet.to_ascii_lowercase();
            length += 1;
        }
    }
    buffer.get(..length).filter(|label| !label.is_empty())
}

/// All labels in order, each with the position of its charset.
static INDEX: LazyLock<Vec<(Box<[u8]>, u8)>> = LazyLock::new(|| {
    let mut index = Vec::with_capacity(1024);
    for (position, entry) in CHARSETS.iter().enumerate() {
        let position = u8::try_from(position).expect("there are fewer than 256 charsets");
        for label in entry.labels.split_ascii_whitespace().chain([entry.name]) {
            let mut buffer = [0; MOST];
            let label = reduce(label.as_bytes(), &mut buffer).expect("labels are short");
            index.push((label.into(), position));
        }
    }
    index.sort();
    index.dedup();
    index
});

/// All charsets.
pub(crate) static CHARSETS: &[Entry] = &[
    own(
        "US-ASCII",
        Kind::Guess,
        "ascii us ibm367 cp367 646 iso646-us iso_646.irv:1991 iso-ir-6 ansi_x3.4-1968 ansi_x3.4-1986 ansi_x3.110-1983 csascii us7ascii 7bit ascii7",
    ),
    web(
        "UTF-8",
        &rs::UTF_8_INIT,
        "utf8 utf u8 utf-8-mac utf8mb4 cp65001 unicode-1-1-utf-8 unicode-2-0-utf-8 unicode11utf8 unicode20utf8 cesu-8 iso-10646-utf-8 utf_8_sig",
    ),
    own(
        "UTF-7",
        Kind::Utf7,
        "unicode-1-1-utf-7 unicode-2-0-utf-7 unicode11utf7 csunicode11utf7 cp65000 iso-10646-utf-7",
    ),
    own(
        "UTF-16",
        Kind::Web(&rs::UTF_16BE_INIT),
        "utf16 ucs-2 iso-10646-ucs-2 iso-10646 unicode csunicode csunicode11 unicode-1-1 iso-10646-j-1 iso-10646-ucs-basic utf-16be utf16be ucs-2be unicodefffe unicodebig cp1201 unicodebigunmarked",
    ),
    web(
        "UTF-16LE",
        &rs::UTF_16LE_INIT,
        "utf16le ucs-2le unicodefeff unicodelittle unicodelittleunmarked cp1200",
    ),
    own("UTF-32", Kind::Utf32(Order::Big), "utf32 ucs-4 iso-10646-ucs-4 csucs4 utf-32be ucs-4be cp12001"),
    own("UTF-32LE", Kind::Utf32(Order::Little), "utf32le ucs-4le cp12000"),
    web(
        "ISO-8859-1",
        &rs::WINDOWS_1252_INIT,
        "iso8859-1 iso_8859-1:1987 iso-ir-100 isolatin1 latin1 latin-1 l1 ibm819 cp819 8859-1 windows-28591 cp28591 iso-8859-1-windows-3.0-latin-1 iso-8859-1-windows-3.1-latin-1 windows-1252 cp1252 ibm1252 1252 ansi cswindows30latin1 cswindows31latin1 iso-8859 8bit",
    ),
    web(
        "ISO-8859-2",
        &rs::ISO_8859_2_INIT,
        "iso8859-2 iso_8859-2:1987 iso-ir-101 isolatin2 latin2 l2 ibm912 cp912 8859-2 windows-28592 cp28592 iso-8859-2-windows-latin-2",
    ),
    web(
        "ISO-8859-3",
        &rs::ISO_8859_3_INIT,
        "iso8859-3 iso_8859-3:1988 iso-ir-109 isolatin3 latin3 l3 ibm913 cp913 8859-3 windows-28593 cp28593",
    ),
    web(
        "ISO-8859-4",
        &rs::ISO_8859_4_INIT,
        "iso8859-4 iso_8859-4:1988 iso-ir-110 isolatin4 latin4 l4 ibm914 cp914 8859-4 windows-28594 cp28594",
    ),
    web(
        "ISO-8859-5",
        &rs::ISO_8859_5_INIT,
        "iso8859-5 iso_8859-5:1988 iso-ir-144 isolatincyrillic cyrillic ibm915 cp915 8859-5 windows-28595 cp28595",
    ),
    web(
        "ISO-8859-6",
        &rs::ISO_8859_6_INIT,
        "iso8859-6 iso_8859-6:1987 iso-ir-127 iso-8859-6-e iso-8859-6-i isolatinarabic arabic asmo-708 ecma-114 ibm1089 cp1089 8859-6 windows-28596 cp28596",
    ),
    web(
        "ISO-8859-7",
        &rs::ISO_8859_7_INIT,
        "iso8859-7 iso_8859-7:1987 iso_8859-7:2003 iso-ir-126 isolatingreek greek greek8 elot_928 ecma-118 sun_eu_greek ibm813 cp813 8859-7 windows-28597 cp28597",
    ),
    web(
        "ISO-8859-8",
        &rs::ISO_8859_8_INIT,
        "iso8859-8 iso_8859-8:1988 iso-ir-138 iso-8859-8-e isolatinhebrew hebrew visual ibm916 cp916 8859-8 windows-28598 cp28598",
    ),
    web("ISO-8859-8-I", &rs::ISO_8859_8_I_INIT, "logical csiso88598i windows-38598 cp38598"),
    web(
        "ISO-8859-9",
        &rs::WINDOWS_1254_INIT,
        "iso8859-9 iso_8859-9:1989 iso-ir-148 isolatin5 latin5 l5 ibm920 cp920 8859-9 windows-28599 cp28599 iso-8859-9-windows-latin-5 windows-1254 cp1254 ibm1254 turkish",
    ),
    web(
        "ISO-8859-10",
        &rs::ISO_8859_10_INIT,
        "iso8859-10 iso_8859-10:1992 iso-ir-157 isolatin6 latin6 l6 8859-10",
    ),
    web(
        "TIS-620",
        &rs::WINDOWS_874_INIT,
        "tis620 tis620-0 tis620-1 tis620.2529-1 tis620.2533-0 tis620.2533-1 iso-ir-166 iso-8859-11 iso8859-11 iso_8859-11:2001 8859-11 windows-874 cp874 ibm874 ibm1162 dos-874 ms874 thai",
    ),
    web(
        "ISO-8859-13",
        &rs::ISO_8859_13_INIT,
        "iso8859-13 iso-ir-179 latin7 l7 8859-13 ibm921 cp921 windows-28603 cp28603",
    ),
    web(
        "ISO-8859-14",
        &rs::ISO_8859_14_INIT,
        "iso8859-14 iso_8859-14:1998 iso-ir-199 latin8 l8 iso-celtic 8859-14",
    ),
    web(
        "ISO-8859-15",
        &rs::ISO_8859_15_INIT,
        "iso8859-15 iso_8859-15:1998 iso-ir-203 isolatin9 latin9 latin-9 l9 latin0 8859-15 ibm923 cp923 windows-28605 cp28605",
    ),
    web("ISO-8859-16", &rs::ISO_8859_16_INIT, "iso8859-16 iso_8859-16:2001 iso-ir-226 latin10 l10 8859-16"),
    web("WINDOWS-1250", &rs::WINDOWS_1250_INIT, "cp1250 ibm1250 1250 ms-ee"),
    web("WINDOWS-1251", &rs::WINDOWS_1251_INIT, "cp1251 ibm1251 1251 ms-cyrl"),
    web("WINDOWS-1253", &rs::WINDOWS_1253_INIT, "cp1253 ibm1253 1253 ms-greek"),
    web("WINDOWS-1255", &rs::WINDOWS_1255_INIT, "cp1255 ibm1255 1255 ms-hebr"),
    web("WINDOWS-1256", &rs::WINDOWS_1256_INIT, "cp1256 ibm1256 1256 ms-arab"),
    web("WINDOWS-1257", &rs::WINDOWS_1257_INIT, "cp1257 ibm1257 1257 winbaltrim"),
    web("WINDOWS-1258", &rs::WINDOWS_1258_INIT, "cp1258 ibm1258 1258"),
    web(
        "KOI8-R",
        &rs::KOI8_R_INIT,
        "koi koi8 koi8r ibm878 cp878 windows-20866 cp20866 koi-8-r gost_19768-74",
    ),
    web("KOI8-U", &rs::KOI8_U_INIT, "koi8u ibm1168 cp1168 windows-21866 cp21866"),
    single("KOI8-RU", &Single::KOI8_RU, "koi8ru cp1167"),
    single("KOI8-T", &Single::KOI8_T, "koi8t"),
    single("ISO-IR-111", &Single::ECMA_CYRILLIC, "ecma-cyrillic koi8-e iso111ecmacyrillic"),
    single("VISCII", &Single::VISCII, "viscii1.1-1 csviscii"),
    single(
        "TCVN",
        &Single::TCVN,
        "tcvn5712 tcvn-5712 tcvn5712-1 tcvn5712-1:1993 x-viet-tcvn5712 tcvn-0 vscii vscii-1",
    ),
    single("ARMSCII-8", &Single::ARMSCII_8, "armscii"),
    single("GEORGIAN-PS", &Single::GEORGIAN_PS, ""),
    single("GEORGIAN-ACADEMY", &Single::GEORGIAN_ACADEMY, ""),
    single("PT154", &Single::PT154, "ptcp154 csptcp154 cp154 cyrillic-asian"),
    single("RK1048", &Single::RK1048, "strk1048-2002 kz-1048 cskz1048"),
    single("HP-ROMAN8", &Single::HP_ROMAN8, "roman8 r8 ibm1051 cp1051"),
    single("NEXTSTEP", &Single::NEXTSTEP, ""),
    single("IBM437", &Single::IBM437, "cp437 437 cspc8codepage437 dos-437 windows-437"),
    single("IBM737", &Single::IBM737, "cp737 737 dos-737"),
    single("IBM775", &Single::IBM775, "cp775 775 cspc775baltic dos-775"),
    single("IBM850", &Single::IBM850, "cp850 850 cspc850multilingual dos-850 windows-850"),
    single("IBM852", &Single::IBM852, "cp852 852 cspcp852 dos-852 windows-852"),
    single("IBM855", &Single::IBM855, "cp855 855 dos-855"),
    single("IBM856", &Single::IBM856, "cp856 856"),
    single("IBM857", &Single::IBM857, "cp857 857 dos-857"),
    single("IBM858", &Single::IBM858, "cp858 858 ibm00858 ccsid00858 pc-multilingual-850+euro"),
    single("IBM860", &Single::IBM860, "cp860 860 dos-860"),
    single("IBM861", &Single::IBM861, "cp861 861 cp-is dos-861"),
    single("IBM862", &Single::IBM862, "cp862 862 cspc862latinhebrew dos-862"),
    single("IBM863", &Single::IBM863, "cp863 863 dos-863"),
    single("IBM864", &Single::IBM864, "cp864 864 dos-864"),
    single("IBM865", &Single::IBM865, "cp865 865 dos-865"),
    web("IBM866", &rs::IBM866_INIT, "cp866 866 dos-866 windows-866"),
    single("IBM869", &Single::IBM869, "cp869 869 cp-gr dos-869"),
    single("IBM1125", &Single::IBM1125, "cp1125 1125 cp866u ruscii"),
    web(
        "MACINTOSH",
        &rs::MACINTOSH_INIT,
        "mac macroman mac-roman x-mac-roman cp10000 windows-10000 apple-roman",
    ),
    web(
        "X-MAC-CYRILLIC",
        &rs::X_MAC_CYRILLIC_INIT,
        "maccyrillic x-mac-ukrainian macukrainian mac-uk macuk cp10007 cp10017 ms-mac-cyrillic",
    ),
    single(
        "X-MAC-CE",
        &Single::MAC_CE,
        "macce maclatin2 mac-latin2 x-mac-centraleurroman mac-centraleurope maccentraleurope cp10029",
    ),
    single("X-MAC-CROATIAN", &Single::MAC_CROATIAN, "maccroatian cp10082"),
    single("X-MAC-GREEK", &Single::MAC_GREEK, "macgreek cp10006"),
    single("X-MAC-ICELANDIC", &Single::MAC_ICELANDIC, "macicelandic maciceland mac-is macis cp10079"),
    single("X-MAC-ROMANIAN", &Single::MAC_ROMANIAN, "macromanian macromania cp10010"),
    single("X-MAC-TURKISH", &Single::MAC_TURKISH, "macturkish cp10081"),
    single("X-MAC-ARABIC", &Single::MAC_ARABIC, "macarabic cp10004"),
    single("X-MAC-FARSI", &Single::MAC_FARSI, "macfarsi"),
    single("X-MAC-HEBREW", &Single::MAC_HEBREW, "machebrew cp10005"),
    single("X-MAC-SAMI", &Single::MAC_SAMI, "macsami"),
    web(
        "GBK",
        &rs::GBK_INIT,
        "cp936 936 windows-936 ms936 gb2312 gb_2312-80 gb2312-80 gb2312.1980-0 cn-gb cn-gb-2312 euc-cn euccn gb_1988-80 iso-ir-58 chinese csiso58gb231280 gb x-euc-cn x-mac-chinesesimp mac-chinesesimp cp10008 cp20936 cp51936 eucgb2312-cn gb-2312 zh_cn.euc",
    ),
    web("GB18030", &rs::GB18030_INIT, "gb18030-2000 gb18030-2005 gb18030-2022 cp54936 windows-54936"),
    own("CN-GB-12345", Kind::Pairs(Pairs::Gb12345), "gb12345 gb12345-90 gb_12345-90 cn-gb-isoir165"),
    own("HZ-GB-2312", Kind::Hz, "hz hz-gb2312 hzgb cp52936"),
    web(
        "BIG5",
        &rs::BIG5_INIT,
        "big-5 cn-big5 cp950 950 windows-950 ms950 big5-eten bigfive big5hkscs big5-hkscs big5-hkscs:1999 big5-hkscs:2001 big5-hkscs:2004 big5-hkscs:2008 hkscs-big5 cp951 x-x-big5 big5-tw tcs-big5 x-mac-chinesetrad mac-chinesetrad cp10002 zh_tw-big5 cn-big5-tw",
    ),
    own("EUC-TW", Kind::Pairs(Pairs::EucTw), "euctw cns11643 cp964 ibm964 cp51950"),
    web(
        "EUC-JP",
        &rs::EUC_JP_INIT,
        "eucjp ujis x-euc cp51932 cp20932 ibm33722 ibm954 cp954 euc-jp-ms eucjp-win eucjpms extended_unix_code_packed_format_for_japanese cseucpkdfmtjapanese ajec unixjis euc-jisx0213 euc-jis-2004",
    ),
    web(
        "SHIFT_JIS",
        &rs::SHIFT_JIS_INIT,
        "shiftjis sjis s-jis ms_kanji cp932 932 windows-932 windows-31j cswindows31j ms932 ibm932 ibm942 cp942 cp943 ibm943 mskanji sjis-win sjis-open pck x-sjis-jp x-mac-japanese mac-japanese cp10001 shift_jisx0213 shift_jis-2004",
    ),
    own(
        "ISO-2022-JP",
        Kind::Iso2022(Shifted::Kana),
        "iso2022jp jis junet iso-2022-jp-1 iso2022jp1 iso-2022-jp-2 iso2022jp2 iso-2022-jp-3 iso2022jp3 iso-2022-jp-2004 iso-2022-jp-ext iso-2022-jp-ms iso-2022-jp-1978-irv iso-2022 iso2022 cp50220 cp50221 cp50222 csjisencoding jis_encoding jis7 7bit-jis ibm5054 cp5054",
    ),
    own("ISO-2022-KR", Kind::Iso2022(Shifted::Korean), "iso2022kr cp50225"),
    own(
        "ISO-2022-CN",
        Kind::Iso2022(Shifted::Chinese),
        "iso2022cn iso-2022-cn-ext iso2022cnext cp50227 cp50229",
    ),
    web(
        "EUC-KR",
        &rs::EUC_KR_INIT,
        "euckr ks_c_5601-1987 ks_c_5601-1989 ks_c_5601-1992 ks_c_5601-1997 ks_c_5601_1987 ksc5601 ksc_5601 ks_c_5601 ksc5601-1987 ksc5601.1987-0 ksc5601-1992 ksx1001 ks_x_1001 ks_x_1001:1992 5601 iso-ir-149 korean cp949 949 windows-949 ms949 uhc ibm949 cp970 ibm970 cp51949 x-mac-korean mac-korean cp10003 ks-c-5601-1987-0",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_label_is_of_two_charsets() {
        for pair in INDEX.windows(2) {
            assert_ne!(pair[0].0, pair[1].0, "{}", pair[0].0.escape_ascii());
        }
    }

    #[test]
    fn labels_are_compared_loosely() {
        let name = |label: &str| find(label.as_bytes()).map(|entry| entry.name);
        for label in
            ["iso-8859-1", "ISO_8859-1:1987", "iso8859_1", "\"iso-8859-01\"", " latin1;", "csISOLatin1x"]
        {
            let known = (label != "csISOLatin1x").then_some("ISO-8859-1");
            assert_eq!(name(label), known, "{label}");
        }
        assert_eq!(name("windows_874"), Some("TIS-620"));
        assert_eq!(name("x-cp1251"), Some("WINDOWS-1251"));
        assert_eq!(name("csKOI8R"), Some("KOI8-R"));
        assert_eq!(name("ibm00858"), Some("IBM858"));
        for label in ["", "-", "x-", "x-unknown", "iso-8859-12", "utf-9", &"a".repeat(1000)] {
            assert_eq!(name(label), None, "{label}");
        }
    }
}
