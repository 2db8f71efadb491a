//! Measures the unix driver: `cargo run --release --example unix_speed [messages] [directory]`.

use ailurus_formats::Unix;
use ailurus_formats::disk::Os;
use ailurus_store::{Access, AppendMeta, Driver, Environment, Location, Manner, Place};
use ailurus_types::{FlagChange, FlagOp, MailboxName, SystemFlags, UidSet};
use std::error::Error;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn Error>> {
    let messages: u32 = std::env::args().nth(1).map_or(Ok(10_000), |count| count.parse())?;
    let directory = std::env::args().nth(2).map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = directory.join(format!("unix-speed-{}", std::process::id()));
    std::fs::create_dir(&directory)?;
    let result = measure(&directory, messages);
    std::fs::remove_dir_all(&directory)?;
    result
}

fn measure(directory: &Path, messages: u32) -> Result<(), Box<dyn Error>> {
    let path = directory.join("box");
    generate(&path, messages)?;
    let mut env = Environment::new("alice", directory.into(), directory.join("spool"), "mail.example.com");
    env.lock_dir = directory.into();
    let without = Unix::new(env.clone(), Os::shared());
    env.cache_dir = Some(directory.join("cache"));
    let driver = Unix::new(env.clone(), Os::shared());
    let at = Location { name: MailboxName::from("box"), place: Place::Path(path.clone()) };
    let size = path.metadata()?.len();
    println!("{messages} messages, {size} octets");
    let report = |what: &str, clock: &Clock| {
        let (wall, cpu) = clock.elapsed();
        let each = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(messages);
        println!("{what:44} {:9.3} us wall, {:7.3} us CPU a message", each(wall), each(cpu));
    };
    for _ in 0..2 {
        let clock = Clock::start();
        let mut file = std::fs::File::open(&path)?;
        let mut block = vec![0; 256 * 1024];
        while file.read(&mut block)? > 0 {}
        report("read(2) over the file", &clock);
    }
    let clock = Clock::start();
    let mailbox = driver.open(&at, Access::ReadOnly, Manner::Silent)?;
    report("open, read-only", &clock);
    drop(mailbox);
    let before = resident();
    let clock = Clock::start();
    let mut mailbox = driver.open(&at, Access::ReadWrite, Manner::Silent)?;
    report("open, first (no UIDs yet)", &clock);
    println!("{:44} {:9} KiB", "memory of the open mailbox", resident().saturating_sub(before));
    let clock = Clock::start();
    let changes = mailbox.checkpoint()?;
    report("first checkpoint (all UIDs; moves everything)", &clock);
    let clock = Clock::start();
    let mut edit = mailbox.edit()?;
    let change = FlagChange { op: FlagOp::Add, system: SystemFlags::SEEN, keywords: Vec::new() };
    edit.store(&UidSet::all(), &change)?;
    let more = edit.commit()?;
    report("STORE 1:* +FLAGS (\\Seen)", &clock);
    let clock = Clock::start();
    let last = mailbox.checkpoint()?;
    report("checkpoint", &clock);
    drop((changes, more, last));
    drop(mailbox);
    let clock = Clock::start();
    let mut mailbox = driver.open(&at, Access::ReadWrite, Manner::Silent)?;
    report("open again", &clock);
    for (what, driver) in [("without index", &without), ("with index", &driver)] {
        for _ in 0..2 {
            let clock = Clock::start();
            drop(driver.open(&at, Access::ReadOnly, Manner::Silent)?);
            report(&format!("open again, read-only, {what}"), &clock);
            let clock = Clock::start();
            let status = driver.status(&at)?;
            let (wall, cpu) = clock.elapsed();
            assert_eq!(status.messages, messages);
            let what = format!("a STATUS, {what}");
            println!("{what:44} {:9} us wall, {:7} us CPU", wall.as_micros(), cpu.as_micros());
        }
    }
    let clock = Clock::start();
    let mut octets = Vec::new();
    let uids: Vec<_> = mailbox.snapshot().messages.iter().map(|message| message.uid()).collect();
    for uid in &uids {
        octets.clear();
        mailbox.read(*uid, ailurus_store::Extent::Whole, 0, usize::MAX, &mut octets)?;
    }
    report("read all messages", &clock);
    let clock = Clock::start();
    let mut edit = mailbox.edit()?;
    let every_second: UidSet = uids.iter().copied().step_by(2).collect();
    edit.expunge(&every_second)?;
    let changes = edit.commit()?;
    report("EXPUNGE of every second", &clock);
    println!("{:44} {:9} KiB", "most memory so far", peak());
    drop(changes);
    mailbox.close()?;
    appends(&driver, &at, 20, "an APPEND")?;
    for _ in 0..2 {
        // As another process does it, which remembers nothing.
        appends(&Unix::new(without_cache(&env), Os::shared()), &at, 1, "an APPEND, closed, without index")?;
    }
    drop(driver.open(&at, Access::ReadOnly, Manner::Silent)?);
    for _ in 0..3 {
        appends(&Unix::new(env.clone(), Os::shared()), &at, 1, "an APPEND, closed, with index")?;
    }
    let empty = Location { name: MailboxName::from("empty"), place: Place::Path(directory.join("empty")) };
    driver.create(&empty)?;
    appends(&driver, &empty, 1, "an APPEND to an empty mailbox")?;
    let clock = Clock::start();
    drop(driver.open(&at, Access::ReadOnly, Manner::Silent)?);
    report("open after appends, with index", &clock);
    Ok(())
}

fn without_cache(env: &Environment) -> Environment {
    Environment { cache_dir: None, ..env.clone() }
}

fn appends(driver: &Unix, at: &Location, count: u32, what: &str) -> Result<(), Box<dyn Error>> {
    let clock = Clock::start();
    for _ in 0..count {
        let message = b"Subject: new\r\n\r\nnew\r\n";
        let mut append = driver.append(at)?;
        append.begin(AppendMeta { size: message.len() as u64, ..AppendMeta::default() })?;
        append.write(message)?;
        append.end()?;
        append.commit()?;
    }
    let (wall, cpu) = clock.elapsed();
    let each = |time: Duration| time.as_micros() / u128::from(count);
    println!("{what:44} {:9} us wall, {:7} us CPU", each(wall), each(cpu));
    Ok(())
}

fn generate(path: &Path, messages: u32) -> Result<(), Box<dyn Error>> {
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    let line = "The quick brown fox jumps over the lazy dog, and From here on it is text.\n";
    for number in 0..messages {
        writeln!(file, "From user{}@example.com Wed Dec  2 05:53:22 1992", number % 97)?;
        for hop in 0..8 {
            writeln!(file, "Received: from relay{hop}.example.net (relay{hop}.example.net [192.0.2.{hop}])")?;
            writeln!(
                file,
                "\tby mail.example.com with ESMTP id q{number:08}{hop}; Wed, 2 Dec 1992 05:53:22 -0700"
            )?;
        }
        writeln!(
            file,
            "Message-ID: <{number}@example.com>\nSubject: message {number}\nFrom: x@example.net\n"
        )?;
        for _ in 0..(20 + number * 37 % 85) {
            file.write_all(line.as_bytes())?;
        }
        writeln!(file)?;
    }
    Ok(file.flush()?)
}

struct Clock(Instant, Duration);

impl Clock {
    fn start() -> Self {
        Self(Instant::now(), cpu())
    }

    fn elapsed(&self) -> (Duration, Duration) {
        (self.0.elapsed(), cpu() - self.1)
    }
}

fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or(0), nanoseconds.unwrap_or(0))
}

fn status_of(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0)
}

fn resident() -> u64 {
    status_of("VmRSS")
}

fn peak() -> u64 {
    status_of("VmHWM")
}
