//! The long form of the fuzz targets.

use ailurus_testkit::fuzz::{Mutator, TARGETS, Target, checkout};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Runs a target for so many seconds: by cargo-fuzz where it is installed, with the fixtures as its corpus, else in a plain
/// loop over inputs that are made from a seed which is printed.
pub(crate) fn fuzz(name: &str, seconds: &str) -> Result<(), String> {
    let names = || TARGETS.map(|target| target.name).join(", ");
    let target = Target::named(name).ok_or_else(|| format!("no such target: {name} ({})", names()))?;
    let seconds: u64 = seconds.parse().map_err(|_| format!("not a number of seconds: {seconds}"))?;
    if has_cargo_fuzz() { guided(target, seconds) } else { plain(target, seconds) }
}

fn has_cargo_fuzz() -> bool {
    let mut command = Command::new("cargo");
    command.args(["+nightly", "fuzz", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    // Cargo tells its children which toolchain it is; this one has to be another.
    command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
    command.status().is_ok_and(|status| status.success())
}

fn guided(target: &Target, seconds: u64) -> Result<(), String> {
    let corpus = checkout().join("fuzz/corpus").join(target.name);
    let failed = |error| format!("cannot write {}: {error}", corpus.display());
    fs::create_dir_all(&corpus).map_err(failed)?;
    for (number, seed) in (target.seeds)().iter().enumerate() {
        fs::write(corpus.join(format!("fixture-{number}")), seed).map_err(failed)?;
    }
    let mut command = Command::new("cargo");
    command.args(["+nightly", "fuzz", "run", target.name, "--"]);
    command.arg(format!("-dict=fuzz/dictionaries/{}", target.dictionary));
    command.arg(format!("-max_total_time={seconds}"));
    command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO").current_dir(checkout());
    let status = command.status().map_err(|error| format!("cannot run cargo: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{}: something was found, see fuzz/artifacts", target.name))
    }
}

fn plain(target: &Target, seconds: u64) -> Result<(), String> {
    let moment = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = u64::from(moment.subsec_nanos()) ^ moment.as_secs();
    eprintln!("no cargo-fuzz here: inputs from seed {seed}, unguided");
    let mut mutator = Mutator::new(target, seed);
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut inputs = 0_u64;
    while Instant::now() < until {
        let input = mutator.input();
        if catch_unwind(AssertUnwindSafe(|| (target.run)(&input))).is_err() {
            return Err(keep(target, &input));
        }
        inputs += 1;
    }
    eprintln!("{}: {inputs} inputs, nothing found", target.name);
    Ok(())
}

/// Writes the input that failed to a file, and returns what to tell.
fn keep(target: &Target, input: &[u8]) -> String {
    let folder = checkout().join("fuzz/artifacts").join(target.name);
    let file = folder.join("failed");
    match fs::create_dir_all(&folder).and_then(|()| fs::write(&file, input)) {
        Ok(()) => format!("{}: failed, the input is in {}", target.name, file.display()),
        Err(error) => format!("{}: failed; cannot write {}: {error}: {input:?}", target.name, file.display()),
    }
}
