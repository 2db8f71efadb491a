mod charsets;

use super::*;
use ailurus_store::Access;
use ailurus_store::memory::Memory;
use ailurus_types::{CalendarDate, HeaderName, Keyword, MailboxName, SearchKey, SequenceSet, SystemFlags};

const DAY: CalendarDate = CalendarDate { year: 2026, month: 9, day: 8 };

/// Returns which of the messages match.
fn found(messages: &[&[u8]], key: SearchKey) -> Vec<u32> {
    found_in(messages, None, key).expect("a charset that is known")
}

fn found_in(
    messages: &[&[u8]],
    charset: Option<&str>,
    key: SearchKey,
) -> std::result::Result<Vec<u32>, BadCharset> {
    let memory = Memory::new();
    for message in messages {
        memory.deliver(&MailboxName::inbox(), message);
    }
    let mut mailbox =
        memory.mailboxes().select(&MailboxName::inbox(), Access::ReadOnly).expect("INBOX is there");
    let infos = mailbox.snapshot().messages.clone();
    let keywords = mailbox.snapshot().keywords.clone();
    let context = Context {
        exists: u32::try_from(infos.len()).expect("few"),
        largest_uid: mailbox.snapshot().largest_uid(),
        keywords: &keywords,
        saved: &UidSet::new(),
        now: 1_704_067_200,
    };
    let program = SearchProgram { charset: charset.map(Into::into), key };
    let mut search = Search::compile(&program, &context)?;
    let matches = infos.into_iter().enumerate().filter_map(|(index, info)| {
        let seq = SeqNum::from_index(index).expect("few");
        let candidate = Candidate { seq, info, recent: index == 0 };
        let mut cost = 0;
        let matches = search.matches(mailbox.as_mut(), &candidate, &mut cost).expect("memory");
        assert!(cost > 0);
        matches.then_some(seq.get())
    });
    Ok(matches.collect())
}

fn text(key: &str) -> SearchKey {
    SearchKey::Text(key.into())
}

fn body(key: &str) -> SearchKey {
    SearchKey::Body(key.into())
}

fn not(key: SearchKey) -> SearchKey {
    SearchKey::Not(Box::new(key))
}

const PLAIN: &[u8] = b"From: Carol <carol@example.test>\r\nSubject: Lunch\r\n plans\r\nDate: Tue, 8 Sep 2026 23:30:00 -0700\r\n\r\nAt noon?\r\n";
const ENCODED: &[u8] = b"From: =?UTF-8?Q?=C3=89rin?= <erin@example.test>\r\nSubject: =?ISO-8859-1?Q?Caf=E9_?=\r\n =?ISO-8859-1?Q?Zola?=\r\n\
    Content-Type: text/plain; charset=UTF-8\r\nContent-Transfer-Encoding: base64\r\n\r\nw4lyaW4ncyBjYWbDqSBsdW5jaA==\r\n";
const NESTED: &[u8] = b"Subject: outer\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n--b\r\n\
    Content-Type: application/octet-stream; name=attached\r\n\r\nhidden octets\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n\
    Subject: inner\r\nContent-Type: text/plain; charset=ISO-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ninner=20caf=E9 te=\r\nxt\r\n--b--\r\n";
const ALL: [&[u8]; 3] = [PLAIN, ENCODED, NESTED];

#[test]
fn texts_are_decoded() {
    for (key, matches) in [
        (text("lunch"), &[1, 2][..]),
        (text("CAFE"), &[2, 3]),
        (text("café"), &[2, 3]),
        (body("cafe"), &[2, 3]),
        (body("inner café text"), &[3]),
        (body("inner"), &[3]),
        (text("Subject: inner"), &[3]),
        (body("Subject: inner"), &[]),
        (text("name=attached"), &[3]),
        (text("hidden octets"), &[]),
        (text("preamble"), &[]),
        (text("Lunch plans"), &[1]),
        (text("café zola"), &[2]),
        (text("w4lyaW4"), &[]),
        (text(""), &[1, 2, 3]),
        (body("zyxw"), &[]),
        (not(body("noon")), &[2, 3]),
    ] {
        assert_eq!(found(&ALL, key.clone()), matches, "{key:?}");
    }
}

#[test]
fn text_that_is_not_what_its_octets_look_like_is_found() {
    let message = |content: &str, body: &[u8]| {
        [b"Content-Type: text/plain; ".as_slice(), content.as_bytes(), b"\r\n\r\n", body, b"\r\n"].concat()
    };
    let wide: Vec<u8> = b"lunch".iter().flat_map(|octet| [0, *octet]).collect();
    assert_eq!(found(&[&message("charset=UTF-16BE", &wide)], body("lunch")), [1]);
    let shifted = message("charset=ISO-2022-JP", b"\x1b$BF|\x1b(B");
    assert_eq!(found(&[&shifted], body("日")), [1]);
    let soft = message("charset=US-ASCII\r\nContent-Transfer-Encoding: Quoted-Printable", b"lu=\r\nnch");
    assert_eq!(found(&[&soft], body("lunch")), [1]);
}

#[test]
fn headers() {
    let address = |field: &str, key: &str| SearchKey::Address(HeaderName(field.into()), key.into());
    let header = |field: &str, key: &str| SearchKey::Header(HeaderName(field.into()), key.into());
    for (key, matches) in [
        (address("FROM", "érin"), &[2][..]),
        (address("FROM", "carol <carol@"), &[1]),
        (address("FROM", "example.test"), &[1, 2]),
        (address("TO", "carol"), &[]),
        (SearchKey::Subject("lunch plans".into()), &[1]),
        (SearchKey::Subject("café zola".into()), &[2]),
        (header("subject", ""), &[1, 2, 3]),
        (header("Date", ""), &[1]),
        (header("X-None", ""), &[]),
        (SearchKey::SentOn(DAY), &[1]),
        (SearchKey::SentSince(DAY), &[1]),
        (SearchKey::SentBefore(DAY), &[]),
    ] {
        assert_eq!(found(&ALL, key.clone()), matches, "{key:?}");
    }
}

#[test]
fn what_the_store_knows() {
    let set = |text: &str| SequenceSet::parse(text.as_bytes()).expect("a set");
    let keyword = Keyword::new(b"None").expect("a keyword");
    for (key, matches) in [
        (SearchKey::All, &[1, 2, 3][..]),
        (SearchKey::Sequence(set("2:*,9")), &[2, 3]),
        (SearchKey::Uid(set("*")), &[3]),
        (SearchKey::Recent, &[1]),
        (SearchKey::Old, &[2, 3]),
        (SearchKey::New, &[1]),
        (SearchKey::Has(SystemFlags::SEEN), &[]),
        (SearchKey::Keyword(keyword.clone()), &[]),
        (SearchKey::Unkeyword(keyword), &[1, 2, 3]),
        (SearchKey::Larger(1_000_000), &[]),
        (SearchKey::Younger(1), &[1, 2, 3]),
        (SearchKey::Older(0), &[1, 2, 3]),
        (SearchKey::Older(1), &[]),
        (SearchKey::Before(DAY), &[1, 2, 3]),
        (SearchKey::Or(Box::new(text("noon")), Box::new(SearchKey::Sequence(set("3")))), &[1, 3]),
        (SearchKey::And(vec![SearchKey::Recent, text("noon"), SearchKey::Subject("lunch".into())]), &[1]),
    ] {
        assert_eq!(found(&ALL, key.clone()), matches, "{key:?}");
    }
}

#[test]
fn keys_have_a_charset() {
    let key = SearchKey::Text(b"caf\xe9".to_vec());
    assert_eq!(found_in(&ALL, Some("iso-8859-1"), key.clone()), Ok(vec![2, 3]));
    assert_eq!(found_in(&ALL, None, key.clone()), Ok(vec![2, 3]));
    assert_eq!(found_in(&ALL, Some("X-NONE"), key), Err(BadCharset("X-NONE".into())));
    let known: Vec<_> = charsets().collect();
    assert_eq!(known[..4], ["US-ASCII", "UTF-8", "UTF-7", "ISO-8859-1"]);
    for label in known {
        assert_eq!(found_in(&ALL, Some(label), SearchKey::Text(Vec::new())), Ok(vec![1, 2, 3]), "{label}");
    }
}

#[test]
fn a_message_that_is_not_held_is_searched_in_pieces() {
    let header = b"Subject: large\r\nContent-Type: text/plain; charset=UTF-8\r\n\r\n";
    let line = "Ein Satz über den Fluß, der nichts enthält.\r\n".as_bytes();
    // The key lies across the end of a piece, at each octet of it.
    for shift in (0..16usize).step_by(3) {
        let mut large = header.to_vec();
        while large.len() < 65_536 - 200 {
            large.extend_from_slice(line);
        }
        large.resize(65_536 - shift, b' ');
        large.extend_from_slice("Das Café Zola\r\n".as_bytes());
        while u64::try_from(large.len()).expect("small") <= WHOLE {
            large.extend_from_slice(line);
        }
        for (key, matches) in [
            ("café zola", true),
            ("CAFE ZOLA", false),
            ("das cafe", true),
            ("enthält.", true),
            ("enthalt.", false),
            ("zyxw", false),
        ] {
            // `e` and its accent stand between the words.
            assert_eq!(!found(&[&large], body(key)).is_empty(), matches, "{key} {shift}");
        }
    }
}

#[test]
fn many_marks_on_one_letter_need_no_memory() {
    let mut message = b"Content-Type: text/plain; charset=UTF-8\r\n\r\na".to_vec();
    while u64::try_from(message.len()).expect("small") <= WHOLE {
        message.extend_from_slice("\u{301}".as_bytes());
    }
    message.extend_from_slice(b"the end\r\n");
    assert_eq!(found(&[&message], body("the end")), [1]);
    assert_eq!(found(&[&message], body("an end")), [] as [u32; 0]);
}

#[test]
fn many_keys_over_many_fields_take_a_moment() {
    // 2,000 keys times 50,000 fields, and a long key that nearly begins at every octet: this took 90 seconds.
    let message = [&b"X-Y: z\r\n".repeat(50_000)[..], b"Subject: Lunch\r\n\r\n", &[b'j'; 500_000]].concat();
    let keys: Vec<_> = (0..2000)
        .flat_map(|number| {
            let name = HeaderName(format!("X-{number}").into());
            [SearchKey::Subject("lunch".into()), not(SearchKey::Header(name, b"".to_vec()))]
        })
        .chain([not(body(&format!("{}q", "j".repeat(9000))))])
        .collect();
    let start = std::time::Instant::now();
    assert_eq!(found(&[&message], SearchKey::And(keys)), [1]);
    assert!(start.elapsed().as_secs() < 30);
}

#[test]
fn a_body_without_ascii_takes_linear_time() {
    let text =
        [&b"Content-Type: text/plain; charset=koi8-r\r\n\r\n"[..], &[0xc0; 4_000_000], b"\xd0\xd2\xc9"]
            .concat();
    let start = std::time::Instant::now();
    assert_eq!(found(&[&text], body("ЮПРИ")), [1]);
    assert_eq!(found(&[&text], body("приз")), []);
    assert!(start.elapsed().as_secs() < 30);
}

#[test]
fn many_keys_cost_more_than_few() {
    let memory = Memory::new();
    memory.deliver(&MailboxName::inbox(), PLAIN);
    let mut mailbox =
        memory.mailboxes().select(&MailboxName::inbox(), Access::ReadOnly).expect("INBOX is there");
    let info = mailbox.snapshot().messages[0];
    let context = Context {
        exists: 1,
        largest_uid: None,
        keywords: &mailbox.snapshot().keywords.clone(),
        saved: &UidSet::new(),
        now: 0,
    };
    let mut cost_of = |keys: usize| {
        let all = vec![not(SearchKey::Has(SystemFlags::SEEN)); keys];
        let key = SearchKey::Or(Box::new(SearchKey::And(all)), Box::new(SearchKey::All));
        let mut search =
            Search::compile(&SearchProgram { charset: None, key }, &context).expect("no charset");
        let mut cost = 0;
        let candidate = Candidate { seq: SeqNum::new(1).expect("1"), info, recent: false };
        assert!(search.matches(mailbox.as_mut(), &candidate, &mut cost).expect("memory"));
        cost
    };
    // So that the answer to 58,000 keys over many messages is worked out in slices, too.
    assert!(cost_of(1) < 100 && cost_of(10_000) > 10_000);
}

/// Numbers that look random, the same each time.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from((self.0 >> 33) % u64::from(limit)).expect("below a limit")
    }
}
