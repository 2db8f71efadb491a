//! No sample of the reference is left out: each file belongs to a rule by which some test takes it.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use ailurus_store::{Claim, Driver};
use std::collections::BTreeSet;
use support::{Home, fixtures, mailutil, open};

/// The formats that have samples of mailboxes in single files.
const FORMATS: [&str; 5] = ["unix", "mmdf", "mbx", "mtx", "tenex"];

fn names(folder: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(fixtures(folder)).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn every_sample_belongs_to_a_test() {
    for format in FORMATS {
        let names = names(format);
        for name in &names {
            let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
            match ending {
                // Taken by the tests `unix_fixtures`, `mbx_fixtures`, `phile` and `dummy`, by what is in them.
                "expect" => {
                    let text = std::fs::read(fixtures(format).join(name)).unwrap();
                    let text = String::from_utf8_lossy(&text);
                    let drivers = [format, "phile", "dummy"];
                    let known = drivers.iter().any(|driver| text.contains(&format!("driver={driver} ")));
                    assert!(known || text.contains("open FAILED"), "{format}/{name}");
                    assert!(names.contains(stem), "{format}/{name} has no mailbox");
                }
                // Compared when the `.expect` is.
                "after" => assert!(names.contains(&format!("{stem}.expect")), "{format}/{name}"),
                // The results on which we do better, the log of a session, and lines that are no mailbox: by name.
                "after-crash" | "after-append" | "log" | "txt" => {
                    let known = [
                        "13-from-only.after-crash",
                        "13-header-no-newline.after-crash",
                        "08-zero-length.after-append",
                        "06-appended-uidplus.log",
                        "12-from-lines-rejected.txt",
                    ];
                    assert!(known.contains(&name.as_str()), "{format}/{name}");
                }
                // A mailbox: with what the reference says of it, or one that a sequence of steps must give.
                _ => {
                    let made = ["01-", "02-", "04-", "05-", "06-", "07-", "30-"];
                    let by_steps = made.iter().any(|start| name.starts_with(start));
                    assert!(by_steps || names.contains(&format!("{name}.expect")), "{format}/{name}");
                }
            }
        }
    }
}

/// Every sample that is a mailbox has as many messages for us as for the reference's own program; those that it refuses
/// as damaged we refuse too.
#[test]
fn the_reference_counts_the_same_messages_in_every_sample() {
    // Files on which the reference dies.
    let differ = ["13-from-only", "13-header-no-newline"];
    let mut counted = 0;
    for format in FORMATS {
        for name in names(format).into_iter().filter(|name| !name.contains('.')) {
            let home = Home::new();
            home.put("T", &std::fs::read(fixtures(format).join(&name)).unwrap());
            let at = home.at_name("T");
            let drivers = ailurus_formats::drivers(&home.environment, &home.disk);
            let claims = |driver: &&std::sync::Arc<dyn Driver>| driver.probe(&at).unwrap() == Claim::Valid;
            let Some(driver) = drivers.iter().find(claims) else { continue };
            let ours = driver.status(&at).map(|status| status.messages).ok();
            if differ.contains(&name.as_str()) {
                continue;
            }
            let Some(said) = mailutil(&home, &["check", "T"]) else { return };
            let total = said.split(" total").next().and_then(|text| text.rsplit(' ').next());
            let theirs = total.and_then(|text| text.parse().ok()).or(said.contains("No new").then_some(0));
            assert_eq!(ours, theirs, "{format}/{name}: {said}");
            let opened = open(&**driver, &at).map(|mailbox| mailbox.close());
            assert_eq!(opened.is_ok(), ours.is_some(), "{format}/{name}");
            counted += 1;
        }
    }
    assert!(counted > 70, "{counted}");
}
