//! docs/faq.md: every question has its place, and every test that is named is there.

use ailurus_testkit::fuzz::checkout;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// How many questions each chapter has, as in the original FAQ.
const QUESTIONS: [usize; 8] = [33, 11, 24, 7, 5, 20, 48, 4];

/// Questions that say how the software must behave.
const REQUIRED: &str = "1.1 1.2 1.8 1.9 1.10 1.11 1.12 1.13 1.14 1.15 1.16 1.17 1.18 1.19 1.22 1.23 1.24 1.25 1.26 1.30 1.33 \
    2.3 3.1 3.2 3.3 3.4 3.5 3.6 3.8 3.9 3.10 3.11 3.16 3.17 3.18 3.19 4.1 4.2 4.3 4.4 4.5 4.6 4.7 5.1 5.2 5.5 6.5 6.7 6.8 \
    6.12 6.13 6.14 6.15 6.16 6.19 7.1 7.2 7.3 7.4 7.5 7.6 7.7 7.8 7.9 7.10 7.11 7.12 7.13 7.14 7.15 7.16 7.17 7.18 7.19 7.20 \
    7.21 7.22 7.23 7.24 7.25 7.26 7.27 7.28 7.29 7.30 7.31 7.32 7.33 7.34 7.35 7.36 7.37 7.38 7.39 7.41 7.43 7.44 7.45 7.46 \
    7.47 7.48";

fn document() -> String {
    fs::read_to_string(checkout().join("docs/faq.md")).expect("it is there")
}

/// Returns the table at the end: questions that have no test, and why.
fn table(text: &str) -> Vec<(&str, &str)> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "));
    rows.filter(|(question, _)| question.starts_with(|c: char| c.is_ascii_digit())).collect()
}

/// Returns the questions with their answers. Questions that follow each other without a word in between share one.
fn answers(text: &str) -> Vec<(&str, String)> {
    let mut answers: Vec<(&str, String)> = Vec::new();
    let (mut asked, mut answered) = (0, true);
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("### <a id=\"") {
            asked = if answered { 1 } else { asked + 1 };
            answered = false;
            answers.push((rest.split('"').next().unwrap_or_default(), String::new()));
        } else if line.starts_with("## ") {
            asked = 0;
        } else if !line.is_empty() {
            answered = true;
            let first = answers.len() - asked;
            for (_, answer) in &mut answers[first..] {
                answer.push_str(line);
                answer.push('\n');
            }
        }
    }
    answers
}

/// Old links name a question by its number: all are there once, in order, and none is without an answer.
#[test]
fn every_question_has_its_place() {
    let text = document();
    let wanted = QUESTIONS.iter().zip(1..);
    let wanted = wanted.flat_map(|(count, chapter)| (1..=*count).map(move |n| format!("{chapter}.{n}")));
    let answers = answers(&text);
    let asked: Vec<&str> = answers.iter().map(|(question, _)| *question).collect();
    assert_eq!(asked, wanted.collect::<Vec<_>>());
    assert_eq!(asked.len(), 152);
    for (question, answer) in answers {
        assert!(!answer.is_empty(), "{question}");
    }
}

#[test]
fn every_requirement_has_a_test_or_a_reason() {
    let text = document();
    let (table, answers) = (table(&text), answers(&text));
    for question in REQUIRED.split_whitespace() {
        let reason = table.iter().find(|(without, _)| *without == question);
        let (_, answer) = answers.iter().find(|(asked, _)| *asked == question).expect("a question");
        assert_eq!(
            links(answer).is_empty(),
            reason.is_some(),
            "{question}: a test or a reason, and not both"
        );
    }
    for (question, why) in table {
        assert!(REQUIRED.split_whitespace().any(|required| required == question), "{question}: {why}");
        assert!(["not yet: ", "not built: "].iter().any(|start| why.starts_with(start)), "{question}: {why}");
    }
}

/// Returns the tests that a text names, with the file that each is in: ``[`name`](../file)``.
fn links(text: &str) -> Vec<(&str, &str)> {
    let links = text.split("[`").skip(1).filter_map(|rest| {
        let (name, rest) = rest.split_once("`](")?;
        Some((name, rest.split(')').next()?))
    });
    links.filter(|(_, file)| file.ends_with(".rs")).collect()
}

#[test]
fn every_test_that_is_named_is_there() {
    let text = document();
    let named = links(&text);
    assert!(named.len() > 100);
    for (name, file) in &named {
        let source = fs::read_to_string(checkout().join("docs").join(file));
        let source = source.unwrap_or_else(|error| panic!("{name}: {file}: {error}"));
        let (before, _) =
            source.split_once(&format!("fn {name}(")).unwrap_or_else(|| panic!("no {name} in {file}"));
        let attributes = before.rsplit("\n\n").next().unwrap_or_default();
        assert!(attributes.contains("#[test]"), "{name} in {file} is no test");
    }
    // Those that are named after a question are told of.
    let folder = checkout().join("crates/ailurus-daemon/tests/faq");
    let named: BTreeSet<&str> = named.into_iter().map(|(name, _)| name).collect();
    for entry in fs::read_dir(folder).expect("ours") {
        let source = fs::read_to_string(entry.expect("an entry").path()).expect("ours");
        for rest in source.split("#[test]\nfn faq_").skip(1) {
            let name = format!("faq_{}", rest.split('(').next().unwrap_or_default());
            assert!(named.contains(name.as_str()), "{name} is not told of");
        }
    }
}

#[test]
fn every_link_leads_somewhere() {
    let text = document();
    for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
        if file.is_empty() {
            let there = text.contains(&format!("<a id=\"{anchor}\"")) || heading(&text, anchor);
            assert!(there, "{link}");
        } else if !file.starts_with("http") {
            assert!(Path::new(&checkout().join("docs").join(file)).exists(), "{link}");
        }
    }
}

/// Tells whether there is a heading that this anchor is made of.
fn heading(text: &str, anchor: &str) -> bool {
    text.lines().filter(|line| line.starts_with('#')).any(|line| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept =
            title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-')).collect::<String>();
        kept.replace(' ', "-") == anchor
    })
}
