//! Sessions in processes of their own: the test program is started again, and acts on lines from a socket.

use super::Format;
use super::home::{Home, Message, change, expunge, read, recent, set, show, store, text};
use super::spawner::Program;
use crate::faulty::NoSync;
use crate::random::Random;
use ailurus_store::{Abilities, Access, Error, Extent, Mailbox, Result};
use ailurus_sys::signals::SignalPipe;
use ailurus_types::{FlagOp, SystemFlags, Uid, UidSet};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

const FORMAT: &str = "AILURUS_CONFORMANCE_FORMAT";
const HOME: &str = "AILURUS_CONFORMANCE_HOME";
const SOCKET: &str = "AILURUS_CONFORMANCE_SOCKET";
/// No command takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process with a session, killed when it is dropped.
pub(super) struct Process {
    id: Pid,
    commands: UnixStream,
    answers: BufReader<UnixStream>,
}

impl Process {
    /// Starts a process on a home.
    pub(super) fn start(home: &Home) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let socket = home.directory().with_file_name(format!("socket{number}"));
        let listener = UnixListener::bind(&socket).unwrap();
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let environment = vec![
            (FORMAT.to_owned(), home.format.name.to_owned()),
            (HOME.to_owned(), text(home.directory())),
            (SOCKET.to_owned(), text(&socket)),
        ];
        let id = Program::helper(environment, home.directory()).start();
        let id = Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
        let (commands, _) = listener.accept().unwrap();
        commands.set_read_timeout(Some(PATIENCE)).unwrap();
        let answers = BufReader::new(commands.try_clone().unwrap());
        Self { id, commands, answers }
    }

    /// Gives a command, without waiting for its end.
    pub(super) fn send(&mut self, command: &str) {
        writeln!(self.commands, "{command}").unwrap();
    }

    /// Waits for the answer to a command.
    pub(super) fn answer(&mut self) -> String {
        let mut answer = String::new();
        let length = self.answers.read_line(&mut answer).expect("the process answers");
        assert!(length > 0, "the process is gone");
        answer.trim_end().to_owned()
    }

    pub(super) fn ask(&mut self, command: &str) -> String {
        self.send(command);
        self.answer()
    }

    /// As [`Process::ask`], for a command that has to succeed.
    #[track_caller]
    pub(super) fn ok(&mut self, command: &str) -> String {
        let answer = self.ask(command);
        answer.strip_prefix("ok").unwrap_or_else(|| panic!("{command}: {answer}")).trim().to_owned()
    }

    /// Kills the process as it stands, and waits until it is gone.
    pub(super) fn kill(mut self) {
        kill_process(self.id, Signal::KILL).unwrap();
        let mut rest = String::new();
        self.answers.read_to_string(&mut rest).ok();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It ends when nobody gives it commands any more.
        self.commands.shutdown(std::net::Shutdown::Write).ok();
        let mut rest = String::new();
        self.answers.read_to_string(&mut rest).ok();
    }
}

/// What the process does when it was started for a check; nothing in the test run itself.
pub fn act(formats: &[&'static Format]) {
    if super::spawner::serve() {
        // The harness would go on to tell how the test went, and nobody listens any more.
        std::process::exit(0);
    }
    let (Ok(name), Some(directory)) = (std::env::var(FORMAT), std::env::var_os(HOME)) else { return };
    let commands = UnixStream::connect(std::env::var_os(SOCKET).unwrap()).unwrap();
    let format = formats.iter().find(|format| format.name == name).unwrap();
    // A person's session waits for its lock while the other closes its mailbox.
    let home = Home::with(format, Path::new(&directory), Arc::new(NoSync), |environment| {
        environment.kiss_tries = 5;
    });
    let signals = SignalPipe::install(&[ailurus_sys::signals::Signal::User2]).unwrap();
    serve(Actor { home, mailbox: None }, commands, signals);
    std::process::exit(0);
}

fn serve(mut actor: Actor, mut answers: UnixStream, signals: &SignalPipe) {
    let input = BufReader::new(answers.try_clone().unwrap());
    let (sender, commands) = channel();
    std::thread::spawn(move || {
        input.lines().map_while(std::io::Result::ok).try_for_each(|line| sender.send(line)).ok();
    });
    loop {
        let command = commands.recv_timeout(Duration::from_millis(5));
        // As a server does when another session wants the mailbox.
        if signals.take().contains(ailurus_sys::signals::Signal::User2)
            && let Some(mailbox) = actor.mailbox.take()
        {
            mailbox.close().unwrap();
        }
        let command = match command {
            Ok(command) => command,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => {
                // Before the socket, whose end says that this process leaves nothing behind.
                drop(actor);
                return;
            }
        };
        let acted = std::panic::catch_unwind(AssertUnwindSafe(|| actor.act(&command)));
        let answer = match acted {
            Ok(Ok(answer)) => format!("ok {answer}"),
            Ok(Err(error)) => format!("error {error:?}"),
            Err(panic) => format!("panic {:?}", panic.downcast_ref::<String>()),
        };
        if writeln!(answers, "{}", answer.replace('\n', " ")).is_err() {
            return;
        }
    }
}

struct Actor {
    home: Home,
    mailbox: Option<Box<dyn Mailbox>>,
}

impl Actor {
    fn act(&mut self, command: &str) -> Result<String> {
        let words: Vec<_> = command.split_whitespace().collect();
        let number = |at: usize| -> usize { words[at].parse().unwrap() };
        match words[..] {
            ["open", access] => {
                let access = if access == "rw" { Access::ReadWrite } else { Access::ReadOnly };
                // The old one first, or it is in the way.
                self.mailbox = None;
                let mailbox = self.home.open_at(&self.home.at_box(), access)?;
                let answer = if mailbox.snapshot().writable { "writable" } else { "readonly" };
                self.mailbox = Some(mailbox);
                Ok(answer.into())
            }
            ["append", first, count] => {
                let first: usize = first.parse().unwrap();
                let messages: Vec<_> =
                    (first..first + count.parse::<usize>().unwrap()).map(Message::number).collect();
                let appended = self.home.append_at(&self.home.at_box(), &messages)?;
                Ok(appended.uids.map_or("untold".into(), |(_, uids)| join(uids.iter().map(|uid| uid.get()))))
            }
            ["store", uid, flag] => {
                let (flag, keyword) = named(flag);
                let by = change(FlagOp::Add, flag, keyword.as_slice());
                drop(store(self.mailbox()?, &set(&[uid.parse().unwrap()]), &by)?);
                Ok(String::new())
            }
            ["unsaved", uid, flag] => {
                let (flag, keyword) = named(flag);
                let mut edit = self.mailbox()?.edit()?;
                edit.store(&set(&[uid.parse().unwrap()]), &change(FlagOp::Add, flag, keyword.as_slice()))?;
                drop(edit.commit()?);
                Ok(String::new())
            }
            ["expunge", uid] => {
                drop(expunge(self.mailbox()?, &set(&[uid.parse().unwrap()]))?);
                Ok(String::new())
            }
            ["refresh"] => {
                drop(self.mailbox()?.refresh()?);
                Ok(String::new())
            }
            ["numbers"] => Ok(join(numbers(self.mailbox()?))),
            ["recent"] => Ok(join(recent(self.mailbox()?))),
            ["read", _] => self.read_for(number(1)),
            ["alone", _, _, _] => self.work_alone(number(1), number(2), number(3)),
            ["close"] => {
                self.mailbox.take().map_or(Ok(()), Mailbox::close)?;
                Ok(String::new())
            }
            _ => panic!("{command}"),
        }
    }

    fn mailbox(&mut self) -> Result<&mut dyn Mailbox> {
        match &mut self.mailbox {
            Some(mailbox) => Ok(&mut **mailbox),
            None => Err(Error::Refused("gave way".into())),
        }
    }

    /// Reads all messages over and over for so many milliseconds; whatever is read must be whole. Tells how many.
    fn read_for(&mut self, milliseconds: usize) -> Result<String> {
        let until = Instant::now() + Duration::from_millis(milliseconds as u64);
        let (mut whole, mut gone) = (0, 0);
        let mailbox = self.mailbox()?;
        while Instant::now() < until {
            drop(mailbox.refresh()?);
            for number in super::home::uids(mailbox) {
                let uid = Uid::new(number).unwrap();
                match read(mailbox, uid, Extent::Whole, 700) {
                    Ok(octets) => {
                        assert!(number_of(&octets).is_some(), "UID {uid}: {}", octets.escape_ascii());
                        whole += 1;
                    }
                    Err(Error::Expunged { .. }) => gone += 1,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(format!("{whole} {gone}"))
    }

    /// Opens, appends, flags and expunges without being told what. Tells the numbers of the messages that it appended
    /// and has not expunged; `who` tells its messages and keyword from those of others.
    fn work_alone(&mut self, who: usize, seed: usize, steps: usize) -> Result<String> {
        let mut random = Random::new(seed as u64);
        let mut mine = Vec::new();
        let mut number = who * 1000;
        let Abilities { shared_expunge: can_share, one_file_each: loses, .. } = self.home.abilities();
        for _ in 0..steps {
            match random.below(4) {
                0 | 1 => {
                    let count = 1 + random.below(3);
                    let messages: Vec<_> = (number + 1..=number + count).map(Message::number).collect();
                    self.home.append_at(&self.home.at_box(), &messages)?;
                    mine.extend(number + 1..=number + count);
                    number += count;
                }
                2 => self.mailbox = None,
                _ => {}
            }
            if self.mailbox.is_none() {
                self.mailbox = Some(self.home.open_at(&self.home.at_box(), Access::ReadWrite)?);
            }
            let mailbox = self.mailbox()?;
            if !mailbox.snapshot().writable {
                drop(mailbox.refresh()?);
                self.mailbox = None;
                continue;
            }
            let by = change(FlagOp::Add, SystemFlags::NONE, &[&format!("by{who}")]);
            drop(store(mailbox, &UidSet::all(), &by)?);
            if random.one_in(2) && !mine.is_empty() {
                let gone = *random.pick(&mine);
                if let Some(uid) = uid_of(mailbox, gone, loses)? {
                    match expunge(mailbox, &set(&[uid.get()])) {
                        Err(Error::InUse { .. }) if !can_share => {}
                        outcome => {
                            drop(outcome?);
                            mine.retain(|number| *number != gone);
                        }
                    }
                }
            }
            if random.one_in(3)
                && let Some(mailbox) = self.mailbox.take()
            {
                mailbox.close()?;
            }
        }
        if let Some(mailbox) = self.mailbox.take() {
            mailbox.close()?;
        }
        Ok(join(mine))
    }
}

/// Returns the UID of message n, if it is there. Where it `loses` them, messages that others expunge meanwhile can be none.
fn uid_of(mailbox: &mut dyn Mailbox, number: usize, loses: bool) -> Result<Option<Uid>> {
    for uid in super::home::uids(mailbox).into_iter().filter_map(Uid::new) {
        match read(mailbox, uid, Extent::Whole, 1 << 16) {
            Ok(octets) if number_of(&octets) == Some(number) => return Ok(Some(uid)),
            Err(Error::Expunged { .. }) if loses => {}
            octets => drop(octets?),
        }
    }
    Ok(None)
}

fn named(flag: &str) -> (SystemFlags, Option<&str>) {
    SystemFlags::from_name(flag.as_bytes()).map_or((SystemFlags::NONE, Some(flag)), |flag| (flag, None))
}

fn join<T: ToString>(numbers: impl IntoIterator<Item = T>) -> String {
    numbers.into_iter().map(|number| number.to_string()).collect::<Vec<_>>().join(" ")
}

/// Returns the numbers in an answer.
pub(super) fn split(answer: &str) -> Vec<usize> {
    answer.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

/// Returns the number of a message, if this is the whole text of one.
pub(super) fn number_of(octets: &[u8]) -> Option<usize> {
    let subject = octets.windows(16).position(|found| found == b"Subject: number ")?;
    let digits: Vec<u8> =
        octets[subject + 16..].iter().take_while(|octet| octet.is_ascii_digit()).copied().collect();
    let number = String::from_utf8(digits).ok()?.parse().ok()?;
    (octets == text(number)).then_some(number)
}

/// Returns the numbers of the messages in a mailbox.
pub(super) fn numbers(mailbox: &mut dyn Mailbox) -> Vec<usize> {
    show(mailbox).iter().map(|shown| number_of(&shown.text).expect("a whole message")).collect()
}
