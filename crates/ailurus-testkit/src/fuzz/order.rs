//! What SORT and THREAD go by.

use ailurus_message::message_id;
use ailurus_search::subject::{base_subject, with_single_blanks};
use ailurus_search::{Threader, Token};
use ailurus_store::MessageInfo;
use ailurus_types::{Flags, InternalDate, ThreadAlgorithm, Uid};

/// Takes the input as a decoded subject. The base subject is part of it; only a mark makes a reply; what follows a mark has
/// the same base subject with and without it.
pub fn subjects(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let subject = with_single_blanks(&text);
    assert!(subject.len() <= text.len() && !subject.contains(['\t']) && !subject.contains("  "));
    let base = base_subject(&subject);
    assert!(subject.contains(base.text) && base.text.trim_matches(' ') == base.text, "{subject:?}");
    let upper = subject.to_ascii_uppercase();
    let marked = ["RE", "FW"].iter().any(|mark| upper.contains(mark));
    assert!(marked || !base.is_reply, "{subject:?}");
    let again = base_subject(base.text);
    assert_eq!(again.text, base.text, "{subject:?}");
    let reply = format!("Re: {subject}");
    assert!(base_subject(&reply).is_reply);
}

/// Takes the input as headers of messages, one after the other, and puts them together in all ways: each message is told
/// once, and lists are as RFC 5256 §5 has them.
pub fn references(input: &[u8]) {
    let mut octets = 0;
    message_id::parse(input, |id| octets += id.len());
    assert!(octets <= input.len());
    let headers: Vec<&[u8]> = headers(input).take(200).collect();
    for algorithm in [ThreadAlgorithm::References, ThreadAlgorithm::Refs, ThreadAlgorithm::OrderedSubject] {
        let mut threader = Threader::new(algorithm);
        for (header, number) in headers.iter().zip(1..) {
            let uid = Uid::new(number).expect("from 1 on");
            let date = InternalDate::from_timestamp(1_000_000_000 + i64::from(number % 5), 0);
            threader.add(number, &MessageInfo::new(uid, Flags::default(), date, 1), header);
        }
        check(threader.finish(), headers.len());
    }
}

fn headers(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = input;
    std::iter::from_fn(move || {
        let end = ailurus_message::header::length(rest);
        let (header, after) = rest.split_at(end);
        rest = after;
        (!header.is_empty()).then_some(header)
    })
}

/// Checks the lists of threads of so many messages.
fn check(threads: impl Iterator<Item = Token>, count: usize) {
    let mut met = vec![false; count];
    // Of each open list: how many lists are in it, and whether it has messages.
    let mut open: Vec<(usize, bool)> = Vec::new();
    for token in threads {
        match token {
            Token::Open => {
                if let Some(list) = open.last_mut() {
                    list.0 += 1;
                }
                open.push((0, false));
            }
            Token::Close => {
                let (lists, has_messages) = open.pop().expect("an open list");
                assert!(lists != 1 && (has_messages || lists > 1), "a list of {lists} lists");
            }
            Token::Number(number) => {
                let list = open.last_mut().expect("an open list");
                assert_eq!(list.0, 0, "messages come before lists");
                list.1 = true;
                let met = &mut met[number as usize - 1];
                assert!(!std::mem::replace(met, true), "{number} comes twice");
            }
        }
    }
    assert!(open.is_empty() && met.iter().all(|met| *met));
}
