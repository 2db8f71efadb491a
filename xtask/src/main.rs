//! The project's own chores; `cargo run -p xtask -- help` lists them.
#![forbid(unsafe_code)]

mod casemap;
mod fuzz;
mod man;
mod tables;

use ailurus_testkit::corpus;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::process::{Command, ExitCode};

const USAGE: &str = "usage: cargo run -p xtask -- CHORE
  check                            everything that a change should pass
  corpus FORMAT COUNT SEED FILE    write a mailbox (mbox or mbx) of realistic mail;
                                   mbox-charsets: in many charsets and encodings
  tables                           write the tables of charsets and of Unicode anew (needs iconv and perl)
  man                              write the man pages and the example of settings from what the code declares
  fuzz TARGET [SECONDS]            the long form of a fuzz target (60 s); use --release where cargo-fuzz is not installed
  crash [--long]                   the crash tests and the conformance suite; with --long at every point, not only at some";

/// What `check` runs, in this order; `.ci/run` runs the same.
const CHECKS: [(&str, &[&str]); 5] = [
    ("format", &["fmt", "--all", "--check"]),
    ("clippy", &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]),
    ("tests", &["test", "--workspace"]),
    ("documents", &["doc", "--workspace", "--no-deps", "--quiet"]),
    ("licences and sources", &["deny", "--log-level", "error", "check", "bans", "licenses", "sources"]),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["check"] => check(),
        ["corpus", format, count, seed, file] => corpus(format, count, seed, file),
        ["man"] => man::write(),
        ["tables"] => tables::write().and_then(|()| casemap::write()),
        ["fuzz", target] => fuzz::fuzz(target, "60"),
        ["fuzz", target, seconds] => fuzz::fuzz(target, seconds),
        ["crash"] => crash(false),
        ["crash", "--long"] => crash(true),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn check() -> Result<(), String> {
    for (what, arguments) in CHECKS {
        eprintln!("== {what}");
        let mut command = cargo();
        command.args(arguments).env("RUSTDOCFLAGS", "-D warnings");
        run(&mut command, what)?;
    }
    eprintln!("== all passed");
    Ok(())
}

fn crash(long: bool) -> Result<(), String> {
    let mut command = cargo();
    let tests = ["--test", "crash_*", "--test", "conformance"];
    command.args(["test", "--release", "-p", "ailurus-formats"]).args(tests);
    if long {
        command.env("AILURUS_LONG", "1");
    }
    run(&mut command, "crash tests")
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn run(command: &mut Command, what: &str) -> Result<(), String> {
    let status = command.status().map_err(|error| format!("cannot run cargo: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("xtask: {what}: failed")) }
}

fn corpus(format: &str, count: &str, seed: &str, file: &str) -> Result<(), String> {
    let count: usize = count.parse().map_err(|_| format!("not a count: {count}"))?;
    let seed: u64 = seed.parse().map_err(|_| format!("not a seed: {seed}"))?;
    let failed = |error| format!("cannot write {file}: {error}");
    let mut out = BufWriter::with_capacity(1 << 20, File::create(file).map_err(failed)?);
    match format {
        "mbox" => corpus::write_mbox(&mut out, seed, count).map_err(failed)?,
        "mbx" => corpus::write_mbx(&mut out, seed, count).map_err(failed)?,
        "mbox-charsets" => {
            corpus::write_mbox_of(&mut out, &mut corpus::Corpus::foreign(seed), count).map_err(failed)?;
        }
        _ => return Err(format!("no such format: {format} (mbox, mbx, mbox-charsets)")),
    }
    out.flush().map_err(failed)
}
