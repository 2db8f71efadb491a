//! BINARY (RFC 3516): parts decoded, data with NULs, literal8.

mod harness;

use ailurus_store::memory::Memory;
use ailurus_types::MailboxName;
use harness::{Harness, config, play};

const PARTS: &str = "Subject: parts\r\nContent-Type: multipart/mixed; boundary=BB\r\n\r\n\
    --BB\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nCaf=E9 at=\r\n noon=3F\r\n\
    --BB\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\nAAECAwQFBgcA\r\n\
    --BB\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: x-uue\r\n\r\nbegin\r\n\
    --BB\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!!\r\n\
    --BB\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\
    Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\naW5uZXI=\r\n\
    --BB\r\nContent-Transfer-Encoding: base64\r\n\r\n\r\n--BB--\r\n";

fn memory() -> Memory {
    let memory = Memory::new();
    memory.deliver(&MailboxName::inbox(), PARTS.as_bytes());
    memory.deliver(
        &MailboxName::inbox(),
        b"Subject: zero\r\nContent-Transfer-Encoding: binary\r\n\r\na\0b\nc\r",
    );
    memory
}

fn selected(script: &str) {
    let select = "C: s SELECT INBOX\nS: * 2 EXISTS\nS: * 2 RECENT\nS: * OK <*>\nS: * OK <*>\nS: * FLAGS <*>\n\
        S: * OK <*>\nS: * OK <*>\nS: s OK <*>\n";
    play(memory, &format!("{select}{script}"));
}

#[test]
fn parts_are_decoded() {
    selected(
        "C: a FETCH 1 (BINARY.PEEK[1] BINARY.SIZE[1] BINARY.SIZE[2] BINARY.PEEK[2])\n\
         S: * 1 FETCH (BINARY[1] {13}\nS: Caf<E9> at noon? BINARY.SIZE[1] 13 BINARY.SIZE[2] 9 BINARY[2] ~{9}\n\
         S: <00><01><02><03><04><05><06><07><00>)\nS: a OK FETCH completed\n\
         C: b FETCH 1 (BINARY.PEEK[5] BINARY.PEEK[5.1] BINARY.PEEK[6] BINARY.SIZE[6])\n\
         S: * 1 FETCH (BINARY[5] {101}\nS: Subject: inner\nS: Content-Type: application/octet-stream\n\
         S: Content-Transfer-Encoding: base64\nS: \nS: aW5uZXI= BINARY[5.1] \"inner\" BINARY[6] \"\" BINARY.SIZE[6] 0)\n\
         S: b OK FETCH completed\n\
         C: c FETCH 1 (FLAGS BINARY[5.1])\nS: * 1 FETCH (FLAGS (\\Recent) BINARY[5.1] \"inner\")\n\
         S: * 1 FETCH (FLAGS (\\Recent \\Seen))\nS: c OK FETCH completed\n\
         C: d UID FETCH 2 (BINARY.PEEK[] BINARY.SIZE[] BINARY.PEEK[1] BODY.PEEK[1])\n\
         S: * 2 FETCH (UID 2 BINARY[] ~{58}\nS: Subject: zero\nS: Content-Transfer-Encoding: binary\nS: \nS: a<00>b\n\
         S: c\r BINARY.SIZE[] 58 BINARY[1] ~{6}\nS: a<00>b\nS: c\r BODY[1] {6}\nS: a<80>b\nS: c\r)\nS: d OK UID FETCH completed\n",
    );
}

#[test]
fn partials_are_of_the_decoded_data() {
    selected(
        "C: a FETCH 1 (BINARY.PEEK[1]<0.3> BINARY.PEEK[1]<3.4> BINARY.PEEK[1]<1.2> BINARY.PEEK[1]<12.9> BINARY.PEEK[1]<99.1>)\n\
         S: * 1 FETCH (BINARY[1]<0> \"Caf\" BINARY[1]<3> {4}\nS: <E9> at BINARY[1]<1> \"af\" BINARY[1]<12> \"?\" BINARY[1]<99> \"\")\n\
         S: a OK FETCH completed\n\
         C: b FETCH 1 (BINARY.PEEK[2]<1.2> BINARY.PEEK[2]<8.1> BINARY.PEEK[2]<0.1>)\n\
         S: * 1 FETCH (BINARY[2]<1> {2}\nS: <01><02> BINARY[2]<8> ~{1}\nS: <00> BINARY[2]<0> ~{1}\nS: <00>)\n\
         S: b OK FETCH completed\n\
         C: c FETCH 2 (BINARY.PEEK[]<54.2> BINARY.PEEK[1]<1.1>)\n\
         S: * 2 FETCH (BINARY[]<54> {2}\nS: b\nS:  BINARY[1]<1> ~{1}\nS: <00>)\nS: c OK FETCH completed\n",
    );
}

#[test]
fn what_cannot_be_decoded_is_refused() {
    selected(
        "C: a FETCH 1 (UID BINARY[3])\nS: * 1 FETCH (UID 1)\nS: a NO [UNKNOWN-CTE] FETCH failed: Unknown Content-Transfer-Encoding\n\
         C: b FETCH 1 BINARY.SIZE[4]\nS: b NO [UNKNOWN-CTE] FETCH failed: Undecodable BASE64 contents\n\
         C: c UID FETCH 1 (BINARY.PEEK[9] BINARY.PEEK[5.1])\nS: * 1 FETCH (UID 1 BINARY[5.1] \"inner\")\n\
         S: c NO [UNKNOWN-CTE] UID FETCH failed: Invalid body part\n\
         C: d FETCH 1 BINARY[1.2]\nS: d NO [UNKNOWN-CTE] FETCH failed: Invalid body part\n\
         C: e FETCH 1 FLAGS\nS: * 1 FETCH (FLAGS (\\Recent))\nS: e OK FETCH completed\n\
         C: f FETCH 1 BINARY[1.TEXT]\nS: f BAD Syntax error in binary specifier\n",
    );
}

#[test]
fn literal8_is_appended_to_the_octet() {
    let memory = memory();
    let mut harness = Harness::preauthenticated(&memory);
    harness.play(
        "C: a APPEND INBOX (\\Seen) ~{6}\nS: + Ready for argument\nC: a: b<0D><0A>\\\nC: <20>~{5+}\nC: x<00>y<0A>z {1+}\nC: w\n\
         S: a OK [APPENDUID <*> 3:5] APPEND completed\n\
         C: b APPEND INBOX ~{0}\nS: b NO Empty message to APPEND\n\
         C: c APPEND nonesuch ~{3}\n\
         S: * OK [TRYCREATE] <*>\nS: c NO [TRYCREATE] <*>\n\
         C: d SUBSCRIBE ~{3}\nS: d BAD Missing or invalid argument to SUBSCRIBE\n",
    );
    let messages: Vec<_> = memory.messages(&MailboxName::inbox());
    assert_eq!(messages.len(), 5);
    harness.ask("s SELECT INBOX");
    harness.play(
        "C: e FETCH 3:4 BINARY.PEEK[]\nS: * 3 FETCH (BINARY[] {6}\nS: a: b\nS: )\n\
         S: * 4 FETCH (BINARY[] ~{5}\nS: x<00>y\nS: z)\nS: e OK FETCH completed\n",
    );
}

/// A message with one part of base64 that decodes to so many octets, none of them NUL but the last if `nul`.
fn large(size: usize, nul: bool) -> (Vec<u8>, Vec<u8>) {
    use std::fmt::Write as _;
    let mut data: Vec<u8> = (0..size).map(|at| u8::try_from(at % 251 + 1).unwrap_or(1)).collect();
    if nul && let Some(last) = data.last_mut() {
        *last = 0;
    }
    let mut text = String::from("Content-Type: image/x\r\nContent-Transfer-Encoding: base64\r\n\r\n");
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for line in data.chunks(57) {
        for group in line.chunks(3) {
            let bits = group.iter().fold(0u32, |bits, octet| bits << 8 | u32::from(*octet))
                << (8 * (3 - group.len()));
            for place in 0..=group.len() {
                let digit = bits >> (18 - 6 * place) & 63;
                let _ = write!(text, "{}", char::from(digits[usize::try_from(digit).unwrap_or(0)]));
            }
        }
        text.push_str("\r\n");
    }
    (text.into_bytes(), data)
}

fn literal(out: &[u8], start: &str) -> Vec<u8> {
    let out = out.strip_prefix(start.as_bytes()).unwrap_or_else(|| panic!("{}", out[..60].escape_ascii()));
    let end = out.len() - b")\r\na OK FETCH completed\r\n".len();
    assert_eq!(&out[end..], b")\r\na OK FETCH completed\r\n");
    out[..end].to_vec()
}

#[test]
fn large_parts_are_decoded_as_they_are_sent() {
    for nul in [false, true] {
        let (message, data) = large(3_000_001, nul);
        let memory = Memory::new();
        memory.deliver(&MailboxName::inbox(), &message);
        // The harness holds the session to 320 KiB of output at once.
        let mut harness = Harness::preauthenticated(&memory);
        harness.ask("s SELECT INBOX");
        assert_eq!(
            harness.ask("a FETCH 1 BINARY.SIZE[1]"),
            ["* 1 FETCH (BINARY.SIZE[1] 3000001)", "a OK FETCH completed"]
        );
        let tilde = if nul { "~" } else { "" };
        harness.send(b"a FETCH 1 BINARY.PEEK[1]\r\n");
        let got = literal(&harness.out, &format!("* 1 FETCH (BINARY[1] {tilde}{{3000001}}\r\n"));
        assert!(got == data);
        harness.out.clear();
        // Partials, one behind the other and back again.
        for at in (0..30).chain([7, 3, 29]) {
            let (from, most) = (at * 100_001, 100_001);
            harness.send(format!("a FETCH 1 BINARY.PEEK[1]<{from}.{most}>\r\n").as_bytes());
            let end = (from + most).min(data.len());
            let tilde = if nul && end == data.len() { "~" } else { "" };
            let start = format!("* 1 FETCH (BINARY[1]<{from}> {tilde}{{{}}}\r\n", end - from);
            assert!(literal(&harness.out, &start) == data[from..end], "from {from}");
            harness.out.clear();
        }
    }
}

#[test]
fn many_partials_of_a_large_part_cost_one_pass() {
    let (message, data) = large(4_000_000, false);
    let memory = Memory::new();
    memory.deliver(&MailboxName::inbox(), &message);
    let mut harness = Harness::preauthenticated(&memory);
    harness.ask("s SELECT INBOX");
    let started = std::time::Instant::now();
    for at in 0..4000 {
        harness.send(format!("a FETCH 1 BINARY.PEEK[1]<{}.1000>\r\n", at * 1000).as_bytes());
        assert!(harness.out.windows(6).any(|window| *window == data[at * 1000..at * 1000 + 6]));
        harness.out.clear();
    }
    // 4000 passes over 5 MB would take minutes.
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

#[test]
fn a_session_may_break_off_in_a_part() {
    let (message, _) = large(500_000, true);
    let memory = Memory::new();
    memory.deliver(&MailboxName::inbox(), &message);
    for polls in 0..12 {
        let start =
            ailurus_server::Start::PreAuthenticated { user: "ada".into(), mailboxes: memory.mailboxes() };
        let mut harness = Harness::start(&memory, config(), start);
        let mut input = &b"s SELECT INBOX\r\na FETCH 1 (BINARY.SIZE[1] BINARY[1])\r\nb NOOP\r\n"[..];
        let mut out = Vec::new();
        for _ in 0..polls {
            if harness.session.wants_input() {
                input = &input[harness.session.handle_input(input, harness.now)..];
            }
            harness.session.poll_output(&mut out);
            out.clear();
        }
        harness.session.handle_disconnect("Unexpected client disconnect", harness.now);
        harness.pump();
        assert_eq!(harness.closed, Some(1), "after {polls} polls");
    }
}

#[test]
fn what_others_expunge_meanwhile_is_no_panic() {
    let (message, _) = large(300_000, false);
    let memory = Memory::new();
    memory.deliver(&MailboxName::inbox(), &message);
    let mut harness = Harness::preauthenticated(&memory);
    harness.ask("s SELECT INBOX");
    memory.expunge(&MailboxName::inbox(), &[ailurus_types::Uid::MIN].into_iter().collect());
    let answer = harness.ask("a FETCH 1 (BINARY.SIZE[1] BINARY.PEEK[1]<0.10>)");
    assert!(
        answer.last().is_some_and(|last| last.starts_with("a NO") || last.starts_with("a OK")),
        "{answer:?}"
    );
}

#[test]
fn hostile_messages_and_items() {
    let memory = Memory::new();
    // Parts in parts, and base64 that is nothing but line ends.
    let mut nested = String::new();
    for depth in 0..200 {
        nested.push_str(&format!("Content-Type: multipart/mixed; boundary=b{depth}\r\n\r\n--b{depth}\r\n"));
    }
    memory.deliver(&MailboxName::inbox(), nested.as_bytes());
    let blank = [&b"Content-Transfer-Encoding: base64\r\n\r\n"[..], &b"\r\n".repeat(1_000_000)].concat();
    memory.deliver(&MailboxName::inbox(), &blank);
    let quoted =
        [&b"Content-Transfer-Encoding: quoted-printable\r\n\r\n"[..], &b" ".repeat(2_000_000), b"="].concat();
    memory.deliver(&MailboxName::inbox(), &quoted);
    let mut harness = Harness::preauthenticated(&memory);
    harness.ask("s SELECT INBOX");
    let deep = vec!["1"; 199].join(".");
    let answer = harness.ask(&format!("a FETCH 1 BINARY[{deep}]"));
    assert!(answer.last().is_some_and(|last| last.starts_with("a ")), "{answer:?}");
    assert_eq!(
        harness.ask("b FETCH 2 (BINARY.SIZE[1] BINARY.PEEK[1])"),
        ["* 2 FETCH (BINARY.SIZE[1] 0 BINARY[1] \"\")", "b OK FETCH completed"]
    );
    assert_eq!(
        harness.ask("c FETCH 3 BINARY.SIZE[1]"),
        ["* 3 FETCH (BINARY.SIZE[1] 2000000)", "c OK FETCH completed"]
    );
    assert_eq!(
        harness.ask("d FETCH 3 BINARY.PEEK[1]<1999999.18446744073709551615>"),
        ["* 3 FETCH (BINARY[1]<1999999> \" \")", "d OK FETCH completed"]
    );
    assert_eq!(
        harness.ask("e FETCH 3 BINARY.PEEK[4294967296.0]<18446744073709551616.1>"),
        ["e NO [UNKNOWN-CTE] FETCH failed: Invalid body part"]
    );
}
