use super::*;
use crate::tests::Random;
use ailurus_types::{Flags, InternalDate, Uid};
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;

/// A message as these tests make them.
#[derive(Clone, Debug, Default)]
struct Mail {
    id: Option<u32>,
    references: Vec<u32>,
    subject: String,
    /// Hours.
    sent: i64,
    arrived: i64,
}

impl Mail {
    fn header(&self) -> String {
        let mut header = String::new();
        if let Some(id) = self.id {
            let _ = write!(header, "Message-ID: <{id}@example.test>\r\n");
        }
        if !self.references.is_empty() {
            header.push_str("References:");
            for id in &self.references {
                let _ = write!(header, "\r\n <{id}@example.test>");
            }
            header.push_str("\r\n");
        }
        let (day, hour) = (self.sent / 24 + 1, self.sent % 24);
        let _ =
            write!(header, "Date: {day} Sep 2026 {hour}:00:00 +0000\r\nSubject: {}\r\n\r\n", self.subject);
        header
    }

    fn info(&self, number: u32) -> MessageInfo {
        let uid = Uid::new(number).expect("a number");
        let date = InternalDate::from_timestamp(1_800_000_000 + self.arrived * 3600, 0);
        MessageInfo::new(uid, Flags::default(), date, 100)
    }
}

fn threaded(algorithm: ThreadAlgorithm, mails: &[Mail]) -> String {
    let mut threader = Threader::new(algorithm);
    for (mail, number) in mails.iter().zip(1..) {
        threader.add(number, &mail.info(number), mail.header().as_bytes());
    }
    written(threader.finish())
}

fn written(threads: Threads) -> String {
    let (mut out, mut last) = (String::new(), Token::Close);
    for token in threads {
        if matches!(last, Token::Number(_)) && token != Token::Close {
            out.push(' ');
        }
        match token {
            Token::Open => out.push('('),
            Token::Close => out.push(')'),
            Token::Number(number) => {
                let _ = write!(out, "{number}");
            }
        }
        last = token;
    }
    out
}

fn mail(id: u32, references: &[u32], subject: &str) -> Mail {
    Mail {
        id: Some(id),
        references: references.into(),
        subject: subject.into(),
        sent: id.into(),
        arrived: id.into(),
    }
}

const ALL: [ThreadAlgorithm; 3] =
    [ThreadAlgorithm::OrderedSubject, ThreadAlgorithm::References, ThreadAlgorithm::Refs];

#[test]
fn the_lists_of_rfc_5256() {
    // §4: (2)(3 6 (4 23)(44 7 96)), with its numbers written as they come.
    let mails = [
        mail(1, &[], "a"),
        mail(2, &[], "b"),
        mail(3, &[2], "b"),
        mail(4, &[2, 3], "b"),
        mail(5, &[2, 3, 4], "b"),
        mail(6, &[3], "b"),
        mail(7, &[6], "b"),
        mail(8, &[3, 6, 7], "b"),
    ];
    assert_eq!(threaded(ThreadAlgorithm::References, &mails), "(1)(2 3 (4 5)(6 7 8))");
    // Siblings of a parent that is not there.
    let siblings = [mail(1, &[9], "a"), mail(2, &[9], "b")];
    assert_eq!(threaded(ThreadAlgorithm::References, &siblings), "((1)(2))");
    assert_eq!(threaded(ThreadAlgorithm::Refs, &siblings), "((1)(2))");
    let only = [mail(1, &[9, 8], "a")];
    assert_eq!(threaded(ThreadAlgorithm::References, &only), "(1)");
    assert_eq!(threaded(ThreadAlgorithm::References, &[]), "");
}

#[test]
fn subjects_join_threads() {
    let by_subject = |subjects: &[&str]| {
        let mails: Vec<_> = subjects.iter().zip(1..).map(|(subject, id)| mail(id, &[], subject)).collect();
        threaded(ThreadAlgorithm::References, &mails)
    };
    assert_eq!(by_subject(&["lunch", "Re: Lunch", "LUNCH (fwd)"]), "(1 (2)(3))");
    assert_eq!(by_subject(&["Re: lunch", "lunch", "Re: lunch"]), "(2 (1)(3))");
    assert_eq!(by_subject(&["lunch", "lunch"]), "((1)(2))");
    assert_eq!(by_subject(&["lunch", "lunch", "Re: lunch"]), "((1)(2)(3))");
    assert_eq!(by_subject(&["Re: lunch", "Re: lunch"]), "((1)(2))");
    assert_eq!(by_subject(&["", "", "Re:"]), "(1)(2)(3)");
    let mails = [mail(1, &[], "x"), mail(2, &[9], "y"), mail(3, &[9], "z"), mail(4, &[], "re: Y")];
    assert_eq!(threaded(ThreadAlgorithm::References, &mails), "(1)((2)(3)(4))");
    assert_eq!(threaded(ThreadAlgorithm::OrderedSubject, &mails), "(1)(2 4)(3)");
}

#[test]
fn ordered_subjects_have_no_grandchildren() {
    let mut mails: Vec<_> = ["a", "re: a", "b", "fwd: A", "re: b"]
        .iter()
        .zip(1..)
        .map(|(subject, id)| mail(id, &[], subject))
        .collect();
    assert_eq!(threaded(ThreadAlgorithm::OrderedSubject, &mails), "(1 (2)(4))(3 5)");
    mails[0].sent = 20;
    assert_eq!(threaded(ThreadAlgorithm::OrderedSubject, &mails), "(2 (4)(1))(3 5)");
}

#[test]
fn refs_has_the_latest_thread_last() {
    let mut mails =
        [mail(1, &[], "a"), mail(2, &[], "a"), mail(3, &[1], "x"), mail(4, &[2], "x"), mail(5, &[1], "y")];
    assert_eq!(threaded(ThreadAlgorithm::Refs, &mails), "(2 4)(1 (3)(5))");
    mails[3].arrived = 9;
    assert_eq!(threaded(ThreadAlgorithm::Refs, &mails), "(1 (3)(5))(2 4)");
    // Within a thread it is the sent date that counts.
    mails[2].sent = 9;
    mails[2].arrived = 1;
    assert_eq!(threaded(ThreadAlgorithm::Refs, &mails), "(1 (5)(3))(2 4)");
}

#[test]
fn other_sources_of_references() {
    let thread = |second: &str| {
        let mut threader = Threader::new(ThreadAlgorithm::References);
        let mail = mail(1, &[], "one");
        threader.add(1, &mail.info(1), b"Message-ID: <\"a\"@b>\r\nSubject: one\r\n\r\n");
        threader.add(2, &mail.info(2), format!("{second}\r\nSubject: two\r\n\r\n").as_bytes());
        written(threader.finish())
    };
    assert_eq!(thread("References: <a@b>"), "(1 2)");
    assert_eq!(thread("In-Reply-To: Your message <a@b> of today"), "(1 2)");
    assert_eq!(thread("In-Reply-To: <a@b> <c@d>"), "(1 2)");
    assert_eq!(thread("In-Reply-To: <c@d> <a@b>"), "(1)(2)");
    assert_eq!(thread("References: none\r\nIn-Reply-To: <a@b>"), "(1 2)");
    assert_eq!(thread("References: <c@d>\r\nIn-Reply-To: <a@b>"), "(1)(2)");
    assert_eq!(thread("References: <A@b>"), "(1)(2)");
    // Whoever has an id that is taken is somebody else.
    assert_eq!(thread("Message-ID: <a@b>\r\nReferences: <a@b>"), "(1 2)");
}

/// A tree of the plain way to do it.
#[derive(Clone, Debug)]
struct Plain {
    message: Option<usize>,
    children: Vec<Plain>,
}

/// The steps of RFC 5256, one by one, as they are written.
struct Steps<'m> {
    mails: &'m [Mail],
}

impl Steps<'_> {
    fn links(&self) -> Vec<Plain> {
        let mut ids: BTreeMap<u32, usize> = BTreeMap::new();
        // Of each node its parent and its message.
        let mut nodes: Vec<(Option<usize>, Option<usize>)> = Vec::new();
        for (message, mail) in self.mails.iter().enumerate() {
            let mut last = None;
            for id in &mail.references {
                let node = *ids.entry(*id).or_insert_with(|| {
                    nodes.push((None, None));
                    nodes.len() - 1
                });
                if let Some(last) = last
                    && nodes[node].0.is_none()
                    && !is_above(&nodes, node, last)
                {
                    nodes[node].0 = Some(last);
                }
                last = Some(node);
            }
            let own = mail.id.and_then(|id| ids.get(&id).copied()).filter(|node| nodes[*node].1.is_none());
            let own = own.unwrap_or_else(|| {
                nodes.push((None, None));
                if let Some(id) = mail.id {
                    ids.entry(id).or_insert(nodes.len() - 1);
                }
                nodes.len() - 1
            });
            nodes[own].1 = Some(message);
            nodes[own].0 = None;
            nodes[own].0 = last.filter(|last| !is_above(&nodes, own, *last));
        }
        let tops = (0..nodes.len()).filter(|node| nodes[*node].0.is_none());
        tops.map(|node| tree(&nodes, node)).collect()
    }

    /// ORDEREDSUBJECT: sorted by subject and date, cut where the subject changes, sorted by the date of the first.
    fn ordered_subjects(&self) -> String {
        let subject = |message: usize| {
            crate::subject::base_subject(&self.mails[message].subject).text.to_ascii_uppercase()
        };
        let mut messages: Vec<usize> = (0..self.mails.len()).collect();
        messages.sort_by_key(|message| (subject(*message), self.mails[*message].sent));
        let mut threads: Vec<&[usize]> =
            messages.chunk_by(|one, other| subject(*one) == subject(*other)).collect();
        threads.sort_by_key(|thread| (self.mails[thread[0]].sent, thread[0]));
        let mut out = String::new();
        for thread in threads {
            let leaf = |message: &usize| Plain { message: Some(*message), children: Vec::new() };
            let children = thread[1..].iter().map(leaf).collect();
            write_list(&Plain { message: Some(thread[0]), children }, &mut out);
        }
        out
    }

    fn threads(&self, algorithm: ThreadAlgorithm) -> String {
        if algorithm == ThreadAlgorithm::OrderedSubject {
            return self.ordered_subjects();
        }
        let mut roots = Vec::new();
        for mut root in self.links() {
            prune(&mut root);
            match (root.message, root.children.len()) {
                (None, 0 | 1) => roots.append(&mut root.children),
                _ => roots.push(root),
            }
        }
        self.sort(&mut roots);
        if algorithm == ThreadAlgorithm::References {
            roots = self.merge(roots);
            self.sort(&mut roots);
        } else {
            roots.sort_by_key(|root| self.latest(root));
        }
        let mut out = String::new();
        roots.iter().for_each(|root| write_list(root, &mut out));
        out
    }

    fn sort(&self, siblings: &mut [Plain]) {
        siblings.iter_mut().for_each(|sibling| self.sort(&mut sibling.children));
        siblings.sort_by_key(|sibling| {
            let message = self.first(sibling);
            (self.mails[message].sent, message)
        });
    }

    /// The message, or the first child of a dummy.
    fn first(&self, tree: &Plain) -> usize {
        tree.message.unwrap_or_else(|| tree.children[0].message.expect("dummies are at the top"))
    }

    fn latest(&self, tree: &Plain) -> (i64, usize) {
        let own = tree.message.map(|message| (self.mails[message].arrived, message));
        own.into_iter().chain(tree.children.iter().map(|child| self.latest(child))).max().expect("a message")
    }

    fn subject(&self, tree: &Plain) -> (String, bool) {
        let subject = crate::subject::base_subject(&self.mails[self.first(tree)].subject);
        (subject.text.to_ascii_uppercase(), subject.is_reply)
    }

    fn merge(&self, roots: Vec<Plain>) -> Vec<Plain> {
        let mut roots: Vec<Option<Plain>> = roots.into_iter().map(Some).collect();
        let mut table: BTreeMap<String, usize> = BTreeMap::new();
        let known = |roots: &[Option<Plain>], at: usize| roots[at].clone().expect("still a root");
        for at in 0..roots.len() {
            let root = known(&roots, at);
            let (subject, is_reply) = self.subject(&root);
            if subject.is_empty() {
                continue;
            }
            let entry = table.entry(subject).or_insert(at);
            let there = known(&roots, *entry);
            let replaces = root.message.is_none() || self.subject(&there).1 && !is_reply;
            if there.message.is_some() && replaces {
                *entry = at;
            }
        }
        for at in 0..roots.len() {
            let Some(root) = roots[at].clone() else { continue };
            let (subject, is_reply) = self.subject(&root);
            let Some(entry) = table.get_mut(&subject).filter(|entry| **entry != at) else { continue };
            let mut there = known(&roots, *entry);
            roots[at] = None;
            if there.message.is_none() {
                match root.message {
                    None => there.children.extend(root.children),
                    Some(_) => there.children.push(root),
                }
                roots[*entry] = Some(there);
            } else if is_reply && !self.subject(&there).1 {
                there.children.push(root);
                roots[*entry] = Some(there);
            } else {
                roots[*entry] = None;
                roots.push(Some(Plain { message: None, children: vec![there, root] }));
                *entry = roots.len() - 1;
            }
        }
        roots.into_iter().flatten().collect()
    }
}

fn is_above(nodes: &[(Option<usize>, Option<usize>)], above: usize, node: usize) -> bool {
    let mut at = Some(node);
    while let Some(node) = at {
        if node == above {
            return true;
        }
        at = nodes[node].0;
    }
    false
}

fn tree(nodes: &[(Option<usize>, Option<usize>)], node: usize) -> Plain {
    let children = (0..nodes.len()).filter(|child| nodes[*child].0 == Some(node));
    Plain { message: nodes[node].1, children: children.map(|child| tree(nodes, child)).collect() }
}

/// Leaves out the dummies below a tree's top.
fn prune(tree: &mut Plain) {
    tree.children.iter_mut().for_each(prune);
    for mut child in std::mem::take(&mut tree.children) {
        match child.message {
            Some(_) => tree.children.push(child),
            None => tree.children.append(&mut child.children),
        }
    }
}

fn write_list(tree: &Plain, out: &mut String) {
    out.push('(');
    write_members(tree, out);
    out.push(')');
}

fn write_members(tree: &Plain, out: &mut String) {
    if let Some(message) = tree.message {
        let _ = write!(out, "{}", message + 1);
    }
    let space = if tree.message.is_some() { " " } else { "" };
    match tree.children.as_slice() {
        [] => {}
        [child] => {
            out.push_str(space);
            write_members(child, out);
        }
        children => {
            out.push_str(space);
            children.iter().for_each(|child| write_list(child, out));
        }
    }
}

#[test]
fn threads_are_those_of_the_steps_as_written() {
    let mut random = Random(7);
    let mut met = HashSet::new();
    for round in 0..6000 {
        let count = random.below(14);
        let ids = 2 + random.below(14);
        let mails: Vec<_> = (0..count)
            .map(|_| Mail {
                id: (random.below(8) > 0).then(|| random.below(ids)),
                references: (0..random.below(5)).map(|_| random.below(ids)).collect(),
                subject: ["a", "Re: a", "A (fwd)", "b", "re: b", "", "re:", "[fwd: c]", "c"]
                    [random.below(9) as usize]
                    .into(),
                sent: random.below(if round % 2 == 0 { 4 } else { 400 }).into(),
                arrived: random.below(9).into(),
            })
            .collect();
        for algorithm in ALL {
            let threads = threaded(algorithm, &mails);
            assert_eq!(threads, Steps { mails: &mails }.threads(algorithm), "{algorithm:?} {mails:#?}");
            met.insert(threads);
        }
    }
    assert!(met.len() > 4000, "{}", met.len());
}

/// What is hard about a mailbox: many messages, each with few octets.
fn many(count: u32, algorithm: ThreadAlgorithm, mail: impl Fn(u32) -> Mail) -> Threads {
    let start = std::time::Instant::now();
    let mut threader = Threader::new(algorithm);
    for number in 1..=count {
        let mail = mail(number);
        threader.add(number, &mail.info(number), mail.header().as_bytes());
    }
    let threads = threader.finish();
    assert!(start.elapsed().as_secs() < 60, "{algorithm:?} takes {:?}", start.elapsed());
    threads
}

#[test]
fn large_threads_take_no_longer_than_small_ones() {
    let count = if cfg!(debug_assertions) { 10_000 } else { 100_000 };
    let plain = |id: u32, references: Vec<u32>| Mail {
        id: Some(id),
        references,
        subject: "x".into(),
        ..Mail::default()
    };
    for algorithm in ALL {
        // Each generation after the other, in either order.
        for down in [false, true] {
            let threads = many(count, algorithm, |number| {
                let id = if down { number } else { count - number };
                plain(id, vec![id.wrapping_sub(1)])
            });
            let tokens = threads.count();
            assert!((count as usize..4 * count as usize).contains(&tokens));
        }
        // Each with all who have come before it, up to fifty, all of one subject; and all children of one.
        many(count, algorithm, |number| plain(number, (number.saturating_sub(50)..number).collect())).count();
        many(count, algorithm, |number| plain(number, vec![0])).count();
        // Cycles of all lengths, and parents that change.
        many(count, algorithm, |number| plain(number, vec![number, number * 7 % count, count - number]))
            .count();
    }
    // Every level has two children: lists nest as deep as there are levels.
    let threads =
        many(count, ThreadAlgorithm::References, |number| plain(number, vec![(number - 1) / 2 * 2]));
    let mut depth = (0usize, 0usize);
    for token in threads {
        match token {
            Token::Open => depth.0 += 1,
            Token::Close => depth.0 -= 1,
            Token::Number(_) => {}
        }
        depth.1 = depth.1.max(depth.0);
    }
    assert_eq!((depth.0, depth.1 > count as usize / 3), (0, true));
}

#[test]
fn references_that_are_made_up_cost_little() {
    let mut threader = Threader::new(ThreadAlgorithm::References);
    for number in 1..=100 {
        let from = number * 10_000;
        let mail = Mail { id: Some(number), references: (from..from + 10_000).collect(), ..Mail::default() };
        threader.add(number, &mail.info(number), mail.header().as_bytes());
    }
    assert!(threader.forest.nodes.len() < 80_000, "{}", threader.forest.nodes.len());
    assert_eq!(threader.finish().filter(|token| matches!(token, Token::Number(_))).count(), 100);
    // All of them in one message.
    let mut threader = Threader::new(ThreadAlgorithm::References);
    let mail = Mail { references: (0..200_000).collect(), ..Mail::default() };
    threader.add(1, &mail.info(1), mail.header().as_bytes());
    assert!(threader.forest.nodes.len() < 70_000, "{}", threader.forest.nodes.len());
}
