//! The fuzz targets, run briefly: every seed, and some thousands of inputs made from them.
//!
//! `AILURUS_FUZZ_SEED` chooses other inputs. The long form is `cargo run -p xtask -- fuzz TARGET [SECONDS]`.

use ailurus_testkit::fuzz::{Mutator, Target};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// How long a target may take: all of them stay below five seconds together, built without optimisation too.
const TIME: Duration = Duration::from_millis(700);

fn run(name: &str) {
    let target = Target::named(name).expect("a target");
    let seed = std::env::var("AILURUS_FUZZ_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut mutator = Mutator::new(target, seed);
    for number in 0..mutator.seeds() {
        feed(target, mutator.seed(number));
    }
    let until = Instant::now() + TIME;
    let mut inputs = 0;
    while Instant::now() < until && inputs < 20_000 {
        feed(target, &mutator.input());
        inputs += 1;
    }
    assert!(inputs > 10, "the target is too slow: {inputs} inputs");
}

/// Shows the input before the test fails.
fn feed(target: &Target, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(input))) {
        // Headers of mbx mailboxes are filled up with NULs.
        let shown = String::from_utf8_lossy(input).replace(&"\0".repeat(100), "<100 NULs>");
        eprintln!("{}: input {shown:?}", target.name);
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn framing() {
    run("framing");
}

#[test]
fn grammar() {
    run("grammar");
}

#[test]
fn pop_lines() {
    run("pop_lines");
}

#[test]
fn addresses() {
    run("addresses");
}

#[test]
fn subjects() {
    run("subjects");
}

#[test]
fn references() {
    run("references");
}

#[test]
fn mime() {
    run("mime");
}

#[test]
fn from_lines() {
    run("from_lines");
}

#[test]
fn mmdf_marks() {
    run("mmdf_marks");
}

#[test]
fn mtx_lines() {
    run("mtx_lines");
}

#[test]
fn tenex_lines() {
    run("tenex_lines");
}

#[test]
fn mbx_records() {
    run("mbx_records");
}

#[test]
fn mx_index() {
    run("mx_index");
}

#[test]
fn mh_sidecar() {
    run("mh_sidecar");
}

#[test]
fn newsrc() {
    run("newsrc");
}

#[test]
fn special_uses() {
    run("special_uses");
}

#[test]
fn charsets() {
    run("charsets");
}

#[test]
fn encoded_words() {
    run("encoded_words");
}

#[test]
fn scram_messages() {
    run("scram_messages");
}

#[test]
fn password_database() {
    run("password_database");
}
