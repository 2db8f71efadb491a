//! `ailurus verify` and `ailurus repair`: mailboxes of the user who calls.

use crate::settings::{Confinement, Files, Settings};
use crate::{personal, surroundings};
use ailurus_formats::disk::Os;
use ailurus_formats::repair::{Action, Findings, Outcome, Repaired, Workshop};
use ailurus_store::{Error, Level, Location, Mailboxes};
use ailurus_types::MailboxName;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::sync::Arc;

/// Something is wrong with a mailbox.
const WRONG: u8 = 1;
/// It could not be looked at, or nothing could be done about it.
const FAILED: u8 = 2;

/// Runs `ailurus verify`: 0 if nothing is wrong, 1 if something is, 2 if something could not be looked at.
#[must_use]
pub fn verify(names: &[OsString]) -> ExitCode {
    let Ok(own) = Own::open("verify") else { return FAILED.into() };
    let mut worst = 0;
    for name in names {
        let name = MailboxName::new(name.as_bytes());
        let found = own
            .mailboxes
            .find(&name)
            .and_then(|(at, format)| Ok((own.workshop.verify(format, &at)?, format)));
        worst = worst.max(match found {
            Ok((findings, format)) => {
                print_findings(&findings);
                println!("{name} ({}): {}", known_as(format, &findings), verdict(&findings));
                if findings.damaged() > 0 { WRONG } else { 0 }
            }
            Err(error) => failed("verify", &name, &error),
        });
    }
    worst.into()
}

/// Runs `ailurus repair`: 0 if nothing was wrong or the salvaged mailbox has the name, 1 if damage was only shown, 2 if
/// nothing could be done.
#[must_use]
pub fn repair(name: &OsString, apply: bool) -> ExitCode {
    let Ok(own) = Own::open("repair") else { return FAILED.into() };
    let action = if apply { Action::Apply } else { Action::Show };
    let name = MailboxName::new(name.as_bytes());
    let repaired = own.mailboxes.find(&name).and_then(|(at, format)| {
        own.refuse_sound(&at, format)?;
        own.workshop.repair(format, &at, action)
    });
    for notice in own.mailboxes.environment().notices.take() {
        if notice.level != Level::Info {
            eprintln!("ailurus repair: {}", notice.text);
        }
    }
    match repaired {
        Ok(repaired) => {
            print_findings(&repaired.findings);
            print!("{}", account(&name, &repaired));
            if repaired.outcome == Outcome::Shown { WRONG.into() } else { ExitCode::SUCCESS }
        }
        Err(error) => failed("repair", &name, &error).into(),
    }
}

/// The caller's mailboxes.
struct Own {
    mailboxes: Mailboxes,
    workshop: Workshop,
}

impl Own {
    /// Finds them; what is wrong is said.
    fn open(task: &str) -> Result<Self, ()> {
        let environment = personal::own().and_then(|own| {
            let surroundings = surroundings::Surroundings {
                user: own.user,
                home: own.home,
                spool: own.spool,
                host: "localhost".into(),
                shared: Default::default(),
            };
            let settings = Settings::read(&Files::of_host());
            let mut environment = surroundings::environment(surroundings, &settings, Confinement::Names)?;
            for complaint in settings.read_users(&mut environment) {
                eprintln!("ailurus {task}: {complaint}");
            }
            Ok(environment)
        });
        match environment {
            Ok(environment) => {
                let workshop = Workshop::new(Arc::new(environment.clone()), Os::shared());
                Ok(Self { mailboxes: surroundings::mailboxes(environment), workshop })
            }
            Err(error) => {
                eprintln!("ailurus {task}: {error}");
                Err(())
            }
        }
    }
}

impl Own {
    /// Refuses a mailbox that is sound in another format than the one that the caller named: nothing in it would be a message,
    /// and all of it left over.
    fn refuse_sound(&self, at: &Location, named: &str) -> Result<(), Error> {
        // What no format knows is what this is for.
        let Ok((at, known)) = self.mailboxes.find(&at.name) else { return Ok(()) };
        let same = known == named || known == "mbox" && named == "unix";
        if same || matches!(known, "dummy" | "phile") {
            return Ok(());
        }
        match self.workshop.verify(known, &at) {
            Ok(found) if found.damaged() == 0 => Err(Error::Refused(format!(
                "it is a mailbox of {known} format without damage, not one of {named} format"
            ))),
            _ => Ok(()),
        }
    }
}

fn failed(task: &str, name: &MailboxName, error: &Error) -> u8 {
    match error {
        Error::InUse { path } => {
            eprintln!("ailurus {task}: {name}: another program has it open or locked: {}", path.display());
        }
        // These name the mailbox.
        Error::NotFound(_) | Error::NotSelectable(_) => eprintln!("ailurus {task}: {error}"),
        error => eprintln!("ailurus {task}: {name}: {error}"),
    }
    FAILED
}

fn known_as<'f>(format: &'f str, findings: &Findings) -> &'f str {
    match format {
        "dummy" if findings.damaged() == 0 => "no mail yet",
        "dummy" => "of no mailbox format",
        "phile" => "a file of no mailbox format",
        format => format,
    }
}

fn print_findings(findings: &Findings) {
    for finding in findings.list() {
        println!("{finding}");
    }
    if findings.more() > 0 {
        println!("... and in {} more places", findings.more());
    }
}

fn verdict(findings: &Findings) -> String {
    let all = findings.list().len() + findings.more();
    let places = |count: usize| if count == 1 { "1 place".to_owned() } else { format!("{count} places") };
    match (findings.damaged(), all) {
        (0, 0) => "nothing is wrong".into(),
        (0, odd) => format!("no damage; odd in {}", places(odd)),
        (damaged, _) => format!("damaged in {}", places(damaged)),
    }
}

/// Says what was done, and what is to be done.
fn account(name: &MailboxName, repaired: &Repaired) -> String {
    let Repaired { path, outcome, notes, salvaged, leftover, left, damaged, .. } = repaired;
    let mut text = String::new();
    let mut say = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    if *outcome == Outcome::Nothing {
        say(format!("{name}: nothing to repair."));
        return text;
    }
    notes.iter().for_each(|note| say(note.clone()));
    if let Some(salvaged) = salvaged {
        say(format!("The salvaged mailbox is {}.", salvaged.display()));
    }
    if let Some(leftover) = leftover {
        say(format!("What fits no message is in {}.", leftover.display()));
        const MOST: usize = 20;
        for (start, end) in left.iter().take(MOST) {
            say(format!("  octets {start} to {end} of the damaged file"));
        }
        if left.len() > MOST {
            say(format!("  ... and {} more ranges", left.len() - MOST));
        }
    }
    match damaged {
        Some(damaged) => {
            say(format!("{} is the salvaged mailbox now.", path.display()));
            say(format!("The damaged one is kept as {}.", damaged.display()));
        }
        None => say(format!(
            "{} is as it was. With --apply the salvaged mailbox takes its place.",
            path.display()
        )),
    }
    text
}
