//! Prints how long the work on one typical message of 6 KB takes, in memory, on one core.
#![forbid(unsafe_code)]

use std::{hint::black_box, time::Instant};

use ailurus_message::{Envelope, Message, PartDecoder, Scanner, header};

fn typical() -> Vec<u8> {
    let mut text = String::new();
    for hop in 0..5 {
        text.push_str(&format!(
            "Received: from relay{hop}.example.org (relay{hop}.example.org [192.0.2.{hop}])\r\n\
             \tby mx.example.com (Postfix) with ESMTPS id 4C1B{hop}2F3A\r\n\
             \tfor <alice@example.com>; Mon,  7 Sep 2026 10:00:0{hop} +0000 (UTC)\r\n"
        ));
    }
    text.push_str(
        "From: \"Carol Q. Example\" <carol@example.org>\r\nTo: Alice <alice@example.com>, Bob <bob@example.com>,\r\n\
         \tdave@example.net\r\nCc: list@lists.example.org\r\nSubject: =?UTF-8?Q?Caf=C3=A9?= and the plans for lunch\r\n\
         Date: Mon, 7 Sep 2026 10:00:00 +0000\r\nMessage-ID: <20260907100000.12345@example.org>\r\n\
         In-Reply-To: <20260906100000.12345@example.com>\r\nReferences: <a@example.com> <b@example.com>\r\n\
         MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=\"----=_Part_123_456.789\"\r\n\
         X-Mailer: Example 1.0\r\nList-Id: <list.example.org>\r\n\r\nThis is a message in MIME format.\r\n\
         ------=_Part_123_456.789\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: quoted-printable\r\n\r\n",
    );
    for line in 0..24 {
        text.push_str(&format!(
            "This is line {line} of a text that goes on for about as long as =\r\nothers do.\r\n"
        ));
    }
    text.push_str(
        "------=_Part_123_456.789\r\nContent-Type: text/html; charset=utf-8\r\n\
         Content-Transfer-Encoding: 8bit\r\n\r\n<html><body>\r\n",
    );
    for line in 0..30 {
        text.push_str(&format!(
            "<p>This is paragraph {line} of a text that is <b>not</b> short, café.</p>\r\n"
        ));
    }
    text.push_str("</body></html>\r\n------=_Part_123_456.789--\r\n");
    text.into_bytes()
}

fn time(what: &str, mut work: impl FnMut()) {
    const ROUNDS: u32 = 50_000;
    let mut best = f64::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        for _ in 0..ROUNDS {
            work();
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS));
    }
    println!("{what:<40} {best:7.3} µs");
}

fn main() {
    let text = typical();
    let header = &text[..header::length(&text)];
    println!("one message of {} octets, its header block of {}", text.len(), header.len());
    let mut out = Vec::new();
    time("header block found", || {
        black_box(header::length(black_box(&text)));
    });
    time("ENVELOPE from the header block", || {
        out.clear();
        Envelope::parse(black_box(header)).print(&mut out);
        black_box(&out);
    });
    time("parsed whole", || {
        black_box(Message::parse(black_box(&text)));
    });
    time("parsed in pieces of 4 KiB", || {
        let mut scanner = Scanner::new();
        for piece in black_box(&text).chunks(4096) {
            scanner.push(piece);
        }
        black_box(scanner.finish());
    });
    time("parsed whole and BODYSTRUCTURE", || {
        out.clear();
        Message::parse(black_box(&text)).body_structure(&mut out);
        black_box(&out);
    });
    time("HEADER.FIELDS (DATE FROM SUBJECT TO CC)", || {
        out.clear();
        let names = ["date", "from", "subject", "to", "cc"];
        header::filter(black_box(header), &names, header::Keep::Named, &mut out);
        black_box(&out);
    });
    let message = Message::parse(&text);
    let mut decoded = String::new();
    time("both texts to UTF-8", || {
        decoded.clear();
        for part in message.root().children() {
            let extent = part.body_extent();
            let body = usize::try_from(extent.start).unwrap_or(0)..usize::try_from(extent.end).unwrap_or(0);
            let mut decoder = PartDecoder::new(&part);
            decoder.push(black_box(&text[body]), &mut decoded);
            decoder.finish(&mut decoded);
        }
        black_box(&decoded);
    });
    let mut mapped = String::new();
    time("both texts case-mapped", || {
        mapped.clear();
        ailurus_charset::casemap(black_box(&decoded), &mut mapped);
        black_box(&mapped);
    });
}
