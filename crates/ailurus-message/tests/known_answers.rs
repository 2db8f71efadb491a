//! Structures and sections of messages whose answers are known: from the recorded session of the reference
//! (`fixtures/transcripts/imap-select-fetch-store.txt`), from the RFCs, and of broken messages made by hand.
#![allow(missing_docs)]

use ailurus_message::{Defect, Kind, Message, SectionText, header};

fn printed(print: impl Fn(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    print(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn body(text: &[u8]) -> String {
    printed(|out| Message::parse(text).body(out))
}

fn body_structure(text: &[u8]) -> String {
    printed(|out| Message::parse(text).body_structure(out))
}

fn section(text: &[u8], numbers: &[u32], what: SectionText) -> Option<String> {
    let extent = Message::parse(text).section(numbers, what)?;
    let at = |offset| usize::try_from(offset).expect("it is in memory");
    let octets = &text[at(extent.start)..at(extent.end)];
    Some(String::from_utf8_lossy(octets).into_owned())
}

fn crlf(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

/// Message 2 of the recorded session, put together from what it shows.
fn recorded() -> Vec<u8> {
    crlf(
        "Date: Tue, 8 Sep 2026 13:30:00 +0200
From: Dave <Dave@example.test>
To: ada@example.test
Subject: Re: Lunch plans (fwd)
In-Reply-To: <m1@example.test>
Message-ID: <m2@example.test>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=\"BB\"

preamble
--BB
Content-Type: text/plain; charset=ISO-8859-1
Content-Transfer-Encoding: quoted-printable

Caf=E9 at noon?
--BB
Content-Type: application/octet-stream; name=\"x.bin\"
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename=\"x.bin\"

AAECAwQFBgc=
--BB
Content-Type: message/rfc822

From: inner@example.test
Subject: inner
Date: Wed, 2 Sep 2026 00:00:00 +0000

inner text
--BB--
",
    )
}

#[test]
fn recorded_envelope_and_structures() {
    let text = recorded();
    let message = Message::parse(&text);
    let dave = r#"(("Dave" NIL "Dave" "example.test"))"#;
    assert_eq!(
        printed(|out| message.envelope(out)),
        format!(
            r#"("Tue, 8 Sep 2026 13:30:00 +0200" "Re: Lunch plans (fwd)" {dave} {dave} {dave} ((NIL NIL "ada" "example.test")) NIL NIL "<m1@example.test>" "<m2@example.test>")"#
        )
    );
    assert_eq!(
        body(&text),
        r#"(("TEXT" "PLAIN" ("CHARSET" "ISO-8859-1") NIL NIL "QUOTED-PRINTABLE" 15 0)("APPLICATION" "OCTET-STREAM" ("NAME" "x.bin") NIL NIL "BASE64" 12)("MESSAGE" "RFC822" NIL NIL NIL "7BIT" 92 ("Wed, 2 Sep 2026 00:00:00 +0000" "inner" ((NIL NIL "inner" "example.test")) ((NIL NIL "inner" "example.test")) ((NIL NIL "inner" "example.test")) NIL NIL NIL NIL NIL) ("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 10 0) 4) "MIXED")"#
    );
    assert_eq!(
        body_structure(&text),
        r#"(("TEXT" "PLAIN" ("CHARSET" "ISO-8859-1") NIL NIL "QUOTED-PRINTABLE" 15 0 NIL NIL NIL NIL)("APPLICATION" "OCTET-STREAM" ("NAME" "x.bin") NIL NIL "BASE64" 12 NIL ("ATTACHMENT" ("FILENAME" "x.bin")) NIL NIL)("MESSAGE" "RFC822" NIL NIL NIL "7BIT" 92 ("Wed, 2 Sep 2026 00:00:00 +0000" "inner" ((NIL NIL "inner" "example.test")) ((NIL NIL "inner" "example.test")) ((NIL NIL "inner" "example.test")) NIL NIL NIL NIL NIL) ("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 10 0 NIL NIL NIL NIL) 4 NIL NIL NIL NIL) "MIXED" ("BOUNDARY" "BB") NIL NIL NIL)"#
    );
    assert!(message.defects().is_empty(), "{:?}", message.defects());
}

#[test]
fn recorded_sections() {
    let text = recorded();
    let get = |numbers: &[u32], what| section(&text, numbers, what);
    assert_eq!(get(&[1], SectionText::Body).as_deref(), Some("Caf=E9 at noon?"));
    assert_eq!(
        get(&[3], SectionText::Header).as_deref(),
        Some("From: inner@example.test\r\nSubject: inner\r\nDate: Wed, 2 Sep 2026 00:00:00 +0000\r\n\r\n")
    );
    assert_eq!(get(&[3], SectionText::Header).map(|header| header.len()), Some(82));
    assert_eq!(get(&[3], SectionText::Text).as_deref(), Some("inner text"));
    assert_eq!(get(&[3, 1], SectionText::Body).as_deref(), Some("inner text"));
    assert_eq!(
        get(&[2], SectionText::Mime).as_deref(),
        Some(
            "Content-Type: application/octet-stream; name=\"x.bin\"\r\nContent-Transfer-Encoding: base64\r\n\
             Content-Disposition: attachment; filename=\"x.bin\"\r\n\r\n"
        )
    );
    for (numbers, what) in [
        (&[9][..], SectionText::Body),
        (&[0], SectionText::Body),
        (&[1, 1, 1], SectionText::Body),
        (&[1, 1], SectionText::Body),
        (&[3, 2], SectionText::Body),
        (&[3, 1], SectionText::Mime),
        (&[1], SectionText::Header),
        (&[2], SectionText::Text),
        (&[], SectionText::Mime),
    ] {
        assert_eq!(get(numbers, what), None, "{numbers:?} {what:?}");
    }
    assert_eq!(get(&[], SectionText::Body).map(|body| body.len()), Some(text.len()));
}

#[test]
fn sections_of_a_plain_message() {
    let text = crlf("Subject: x\nTo: a@b\n\none\ntwo\n");
    assert_eq!(section(&text, &[1], SectionText::Body).as_deref(), Some("one\r\ntwo\r\n"));
    assert_eq!(section(&text, &[], SectionText::Text).as_deref(), Some("one\r\ntwo\r\n"));
    assert_eq!(section(&text, &[], SectionText::Header).as_deref(), Some("Subject: x\r\nTo: a@b\r\n\r\n"));
    assert_eq!(section(&text, &[1], SectionText::Mime), None);
    assert_eq!(section(&text, &[1, 1], SectionText::Body), None);
    assert_eq!(section(&text, &[2], SectionText::Body), None);
}

/// RFC 3501 §6.4.5 numbers the parts of a message like this.
#[test]
fn sections_of_the_rfc_3501_example() {
    let text = crlf(
        "Content-Type: MULTIPART/MIXED; boundary=o
MIME-Version: 1.0

--o
Content-Type: TEXT/PLAIN

1
--o
Content-Type: APPLICATION/OCTET-STREAM

2
--o
Content-Type: MESSAGE/RFC822

Subject: 3
MIME-Version: 1.0
Content-Type: MULTIPART/MIXED; boundary=i

--i

3.1
--i
Content-Type: APPLICATION/OCTET-STREAM

3.2
--i--
--o
Content-Type: MULTIPART/MIXED; boundary=p

--p
Content-Type: IMAGE/GIF

4.1
--p
Content-Type: MESSAGE/RFC822

Subject: 4.2
MIME-Version: 1.0
Content-Type: MULTIPART/MIXED; boundary=q

--q
Content-Type: TEXT/PLAIN

4.2.1
--q
Content-Type: MULTIPART/ALTERNATIVE; boundary=r

--r
Content-Type: TEXT/PLAIN

4.2.2.1
--r
Content-Type: TEXT/RICHTEXT

4.2.2.2
--r--
--q--
--p--
--o--
",
    );
    for numbers in [&[1][..], &[2], &[3, 1], &[3, 2], &[4, 1], &[4, 2, 1], &[4, 2, 2, 1], &[4, 2, 2, 2]] {
        let expected = numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(".");
        assert_eq!(section(&text, numbers, SectionText::Body), Some(expected));
    }
    let part_4_2 = section(&text, &[4, 2], SectionText::Body).unwrap();
    assert!(part_4_2.starts_with("Subject: 4.2\r\n") && part_4_2.ends_with("--r--\r\n--q--"), "{part_4_2}");
    assert_eq!(
        section(&text, &[4, 2, 2], SectionText::Mime).as_deref(),
        Some("Content-Type: MULTIPART/ALTERNATIVE; boundary=r\r\n\r\n")
    );
    assert!(section(&text, &[4, 2], SectionText::Header).unwrap().ends_with("boundary=q\r\n\r\n"));
    assert!(section(&text, &[4, 2], SectionText::Text).unwrap().starts_with("--q\r\n"));
    assert!(Message::parse(&text).defects().is_empty());
}

#[test]
fn fixture_messages() {
    let read = |name: &str| {
        let path = format!("{}/../../fixtures/messages/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    for (name, structure) in [
        ("m1.eml", r#"("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 88 5 NIL NIL NIL NIL)"#),
        ("m2.eml", r#"("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 13 1 NIL NIL NIL NIL)"#),
        ("m3.eml", r#"("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 0 0 NIL NIL NIL NIL)"#),
        ("m4.eml", r#"("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 25 0 NIL NIL NIL NIL)"#),
    ] {
        assert_eq!(body_structure(&read(name)), structure, "{name}");
    }
    let m1 = read("m1.eml");
    let mut filtered = Vec::new();
    header::filter(Message::parse(&m1).root().header(), &["SUBJECT"], header::Keep::Named, &mut filtered);
    assert_eq!(filtered, b"Subject: first message\r\n\r\n");
}

#[test]
fn defaults() {
    let empty = r#"("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 0 0)"#;
    assert_eq!(body(b""), empty);
    assert_eq!(body(b"Subject: no body"), empty);
    for (header, expected) in [
        ("", r#"("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 3 1)"#),
        // Without MIME-Version, content fields count where they look like MIME.
        ("Content-Description: x\n", r#"("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 3 1)"#),
        ("Content-Type: text\n", r#"("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 3 1)"#),
        ("Content-Type: text/html\n", r#"("TEXT" "HTML" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 3 1)"#),
        ("MIME-Version: 1.0\nContent-Type: image\n", r#"("IMAGE" "UNKNOWN" NIL NIL NIL "7BIT" 3)"#),
        ("MIME-Version: 1.0\nContent-Type: Audio\n", r#"("AUDIO" "BASIC" NIL NIL NIL "7BIT" 3)"#),
        ("MIME-Version: 1.0\nContent-Type: x-y/z; q=\"\"\n", r#"("X-Y" "Z" ("Q" "") NIL NIL "7BIT" 3)"#),
        (
            "MIME-Version: 1.0\nContent-Type: message/partial\n",
            r#"("MESSAGE" "PARTIAL" NIL NIL NIL "7BIT" 3)"#,
        ),
        (
            "Content-Transfer-Encoding: X-uue\n",
            r#"("TEXT" "PLAIN" ("CHARSET" "X-UNKNOWN") NIL NIL "X-UUE" 3 1)"#,
        ),
        (
            "Content-Transfer-Encoding: 8bit\n",
            r#"("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "8BIT" 3 1)"#,
        ),
        (
            "Content-Type: text/plain; format=flowed\n",
            r#"("TEXT" "PLAIN" ("FORMAT" "flowed") NIL NIL "7BIT" 3 1)"#,
        ),
        (
            "MIME-Version: 1.0\nContent-ID: (c) <x@y>\nContent-Description: a\n\tb\n",
            r#"("TEXT" "PLAIN" ("CHARSET" "US-ASCII") "<x@y>" "a b" "7BIT" 3 1)"#,
        ),
    ] {
        assert_eq!(body(&crlf(&format!("{header}\nx\n"))), expected, "{header}");
    }
    let charset = |body: &[u8]| {
        let text = [b"\r\n", body].concat();
        let message = Message::parse(&text);
        message.root().charset().map(|charset| String::from_utf8_lossy(&charset).into_owned())
    };
    assert_eq!(charset(b"caf\xE9").as_deref(), Some("X-UNKNOWN"));
    assert_eq!(charset(b"\x1B$B \xE9").as_deref(), Some("ISO-2022-JP"));
    assert_eq!(charset(b"\xE9 \x1B$B").as_deref(), Some("X-UNKNOWN"));
    assert_eq!(charset(b"\x1B\x1B$@").as_deref(), Some("ISO-2022-JP"));
    assert_eq!(charset(b"\x1B(B").as_deref(), Some("US-ASCII"));
}

#[test]
fn extension_data() {
    let text = crlf(
        "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-MD5: abc\n\
         Content-Disposition: inline\nContent-Language: en, de\nContent-Location: http://x/\n\n",
    );
    assert_eq!(
        body_structure(&text),
        r#"("TEXT" "PLAIN" ("CHARSET" "utf-8") NIL NIL "7BIT" 0 0 "abc" ("INLINE" NIL) ("EN" "DE") "http://x/")"#
    );
    let one = crlf("MIME-Version: 1.0\nContent-Language:\nContent-Language: en\nContent-Disposition: ;x\n\n");
    assert!(body_structure(&one).ends_with(r#"NIL NIL "EN" NIL)"#));
}

#[test]
fn odd_multiparts() {
    let head = "MIME-Version: 1.0\nContent-Type: multipart/";
    let empty = r#"("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 0 0)"#;
    let one = r#"("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 1 0)"#;
    let nothing = r#"("MESSAGE" "RFC822" NIL NIL NIL "7BIT" 0 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"#;
    for (rest, expected) in [
        ("mixed; boundary=b\n\nno parts\n", format!(r#"({empty} "MIXED")"#)),
        ("mixed; boundary=b\n\n", format!(r#"({empty} "MIXED")"#)),
        ("digest; boundary=b\n\n", format!(r#"({empty} "DIGEST")"#)),
        ("digest; boundary=b\n\n--b\n--b--\n", format!(r#"({nothing} {empty} 0) "DIGEST")"#)),
        (
            "digest; boundary=b\n\n--b\n\n\n1\n--b--\n",
            format!(r#"({} {one} 1) "DIGEST")"#, nothing.replace(" 0 (", " 3 (")),
        ),
        ("mixed; boundary=b\n\n--b\n--b\n\n1\n--b--\nepilogue\n--b\n", format!(r#"({empty}{one} "MIXED")"#)),
        ("mixed; boundary=b\n\n--b \t\n\n1\n--b-- \n", format!(r#"({one} "MIXED")"#)),
        ("mixed; boundary=b\n\n--bb\n--b\n\n1", format!(r#"({one} "MIXED")"#)),
        ("mixed\n\n---\n\n1\n-----\n", format!(r#"({one} "MIXED")"#)),
        ("mixed; boundary=\"\"\n\n--\n\n1\n----\n", format!(r#"({one} "MIXED")"#)),
        ("mixed; boundary=b\n\n--b\nContent-Type: text/plain\n--b--\n", format!(r#"({empty} "MIXED")"#)),
        (
            "mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\n1\n--b--\n",
            format!(r#"(({one} "MIXED") "MIXED")"#),
        ),
        (
            "mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n1\n--b--\n",
            format!(r#"(({empty} "MIXED"){one} "MIXED")"#),
        ),
    ] {
        assert_eq!(body(&crlf(&format!("{head}{rest}"))), expected, "{rest}");
    }
}

#[test]
fn defects_are_told() {
    for (text, defect) in [
        ("Subject: x", Defect::HeaderUnterminated),
        ("garbage\n\n", Defect::NotAField),
        ("Content-Type: text/html\n\n", Defect::NoMimeVersion),
        ("MIME-Version: 1.0\nContent-Type: html\n\n", Defect::BadContentType),
        ("MIME-Version: 1.0\nContent-Type: multipart/mixed\n\n", Defect::BadBoundary),
        ("MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b--\n", Defect::NoParts),
        ("MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n", Defect::Unclosed),
        (
            "MIME-Version: 1.0\nContent-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n\n",
            Defect::EncodedComposite,
        ),
    ] {
        let defects = Message::parse(text.as_bytes()).defects();
        assert!(defects.contains(defect), "{text}: {defects:?}");
    }
    assert!(Message::parse(&recorded()).defects().is_empty());
}

#[test]
fn depth_is_limited() {
    let text = "Content-Type: message/rfc822\n\n".repeat(10_000);
    let message = Message::parse(text.as_bytes());
    assert_eq!(message.parts().len(), 52);
    assert!(message.defects().contains(Defect::TooDeep));
    let deepest = message.parts().last().unwrap();
    assert_eq!((deepest.kind(), deepest.depth()), (Kind::Text, 51));
    let mut out = Vec::new();
    message.body_structure(&mut out);
    assert!(out.windows(15).any(|text| text == b"\"TEXT\" \"RFC822\""));

    let level = |level: u32| format!("Content-Type: multipart/mixed; boundary=b{level}\n\n--b{level}\n");
    let text: String = (0..1000).map(level).collect();
    assert_eq!(Message::parse(text.as_bytes()).parts().len(), 52);
}

#[test]
fn parts_are_limited() {
    let head = "Content-Type: multipart/mixed; boundary=b\n\n";
    let text = [head, &"--b\n\nx\n".repeat(30_000), "--b--\n"].concat();
    let message = Message::parse(text.as_bytes());
    assert_eq!(message.parts().len(), 10_000);
    assert!(message.defects().contains(Defect::TooManyParts));
    let last = message.find(&[9_999]).unwrap();
    assert!(last.body_octets() > 20_000 * 6);
    assert_eq!(message.find(&[10_000]).map(|part| part.body_octets()), None);
}

#[test]
fn headers_are_limited() {
    let long = format!("Subject: x\nX-Long: {}\nTo: a@b\n\nbody\n", "y".repeat(2 << 20));
    let message = Message::parse(long.as_bytes());
    assert!(message.defects().contains(Defect::HeaderTooLarge));
    assert_eq!(message.root().header().len(), 1 << 20);
    assert_eq!(message.root().body_octets(), 5);
    assert_eq!(message.root().header_extent().end, (long.len() - 5) as u64);
}
