//! The charset tables of `ailurus-charset` that no crate has.
//!
//! Charsets are asked of what stands on this machine: glibc's `iconv`, and the `Encode` module of `perl` for what that
//! does not know. A table of 128 (or 256) or of 94 times 94 numbers of 16 bits, least significant octet first, is a file of
//! its own; 0 stands for nothing.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Charsets of one octet whose lower half is ASCII: file, name for iconv.
const SINGLE: [(&str, &str); 26] = [
    ("ibm437", "IBM437"),
    ("ibm737", "CP737"),
    ("ibm775", "CP775"),
    ("ibm850", "IBM850"),
    ("ibm852", "IBM852"),
    ("ibm855", "IBM855"),
    ("ibm856", "IBM856"),
    ("ibm857", "IBM857"),
    ("ibm858", "CP858"),
    ("ibm860", "IBM860"),
    ("ibm861", "IBM861"),
    ("ibm862", "IBM862"),
    ("ibm863", "IBM863"),
    ("ibm864", "IBM864"),
    ("ibm865", "IBM865"),
    ("ibm869", "IBM869"),
    ("ibm1125", "CP1125"),
    ("koi8-ru", "KOI8-RU"),
    ("koi8-t", "KOI8-T"),
    ("armscii-8", "ARMSCII-8"),
    ("georgian-ps", "GEORGIAN-PS"),
    ("georgian-academy", "GEORGIAN-ACADEMY"),
    ("ecma-cyrillic", "ECMA-CYRILLIC"),
    ("pt154", "PT154"),
    ("rk1048", "RK1048"),
    ("mac-sami", "MAC-SAMI"),
];

/// Charsets of one octet with letters in place of control characters.
const FULL: [(&str, &str); 2] = [("viscii", "VISCII"), ("tcvn", "TCVN5712-1")];

/// How many characters plane 2 of CNS 11643 has, all at its start. glibc makes something up for those behind.
const CNS_2: usize = 7650;

/// The same by perl.
const SINGLE_OF_PERL: [(&str, &str); 11] = [
    ("hp-roman8", "hp-roman8"),
    ("nextstep", "nextstep"),
    ("mac-arabic", "MacArabic"),
    ("mac-ce", "MacCentralEurRoman"),
    ("mac-croatian", "MacCroatian"),
    ("mac-farsi", "MacFarsi"),
    ("mac-greek", "MacGreek"),
    ("mac-hebrew", "MacHebrew"),
    ("mac-icelandic", "MacIcelandic"),
    ("mac-romanian", "MacRomanian"),
    ("mac-turkish", "MacTurkish"),
];

/// Prints what each octet of 0x80 or more means, an empty line for nothing.
const PERL_SINGLE: &str = r#"binmode STDOUT, ":utf8";
    for (0x80 .. 0xff) { my $octet = chr; my $text = decode($ARGV[0], $octet, Encode::FB_QUIET);
    print length $text && ! length $octet ? $text : "", "\n"; }"#;

const PERL_PAIRS: &str = r#"binmode STDOUT, ":utf8";
    for my $row (0x21 .. 0x7e) { for my $cell (0x21 .. 0x7e) { my $pair = chr($row) . chr($cell);
    my $text = decode($ARGV[0], $pair, Encode::FB_QUIET); print length $text && ! length $pair ? $text : "", "\n"; } }"#;

/// Writes all tables anew.
pub(crate) fn write() -> Result<(), String> {
    for (file, name) in SINGLE {
        save(file, &asked_of_iconv(name, (0x80..=0xff).map(|octet| vec![octet]))?, 128)?;
    }
    for (file, name) in FULL {
        save(file, &asked_of_iconv(name, (0..=0xff).map(|octet| vec![octet]))?, 256)?;
    }
    for (file, name) in SINGLE_OF_PERL {
        save(file, &asked_of_perl(PERL_SINGLE, name)?, 128)?;
    }
    save("gb12345", &asked_of_perl(PERL_PAIRS, "gb12345-raw")?, 94 * 94)?;
    for (file, plane, count) in [("cns11643-1", &[][..], 94 * 94), ("cns11643-2", &[0x8e, 0xa2], CNS_2)] {
        let pairs =
            (0xa1..=0xfe).flat_map(|row| (0xa1..=0xfe).map(move |cell| [plane, &[row, cell]].concat()));
        let mut table = asked_of_iconv("EUC-TW", pairs.take(count))?;
        table.resize(94 * 94, 0);
        save(file, &table, 94 * 94)?;
    }
    Ok(())
}

pub(crate) fn folder() -> PathBuf {
    ailurus_testkit::fuzz::checkout().join("crates/ailurus-charset/tables")
}

fn save(file: &str, meanings: &[u16], count: usize) -> Result<(), String> {
    if meanings.len() != count {
        return Err(format!("{file}: {} characters where {count} belong", meanings.len()));
    }
    let octets: Vec<u8> = meanings.iter().flat_map(|meaning| meaning.to_le_bytes()).collect();
    let path = folder().join(format!("{file}.bin"));
    fs::write(&path, octets).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Asks for the meaning of each code, one a line. A line that becomes anything but one character says that there is none.
fn asked_of_iconv(charset: &str, codes: impl Iterator<Item = Vec<u8>>) -> Result<Vec<u16>, String> {
    let mut input = Vec::new();
    for code in codes {
        // A line end within is not asked for.
        input.extend_from_slice(if code == b"\n" { b"" } else { &code });
        input.push(b'\n');
    }
    let mut command = Command::new("iconv");
    command.args(["-c", "-f", charset, "-t", "UTF-8"]);
    meanings(command, input)
}

fn asked_of_perl(program: &str, charset: &str) -> Result<Vec<u16>, String> {
    let mut command = Command::new("perl");
    command.args(["-MEncode", "-e", program, charset]);
    meanings(command, Vec::new())
}

fn meanings(command: Command, input: Vec<u8>) -> Result<Vec<u16>, String> {
    let failed = |error| format!("cannot run {command:?}: {error}");
    let mut child = Command::new(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut stdin = child.stdin.take().expect("it is a pipe");
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().map_err(failed)?;
    writer.join().expect("it does not panic").map_err(failed)?;
    let text = String::from_utf8(output.stdout).map_err(|_| format!("{command:?}: no UTF-8"))?;
    Ok(text.split_terminator('\n').map(meaning).collect())
}

fn meaning(line: &str) -> u16 {
    let mut characters = line.chars();
    match (characters.next(), characters.next()) {
        // Private use is no meaning.
        (Some(c), None) if !matches!(c, '\u{e000}'..='\u{f8ff}') => u16::try_from(u32::from(c)).unwrap_or(0),
        _ => 0,
    }
}
