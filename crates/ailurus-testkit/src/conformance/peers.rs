//! The reference's own `mailutil` on our mailboxes, and we on its, by turns.
//!
//! A model says what the mailbox holds. After each operation, whoever did it, our driver must show exactly that; every
//! few operations mailutil copies the mailbox, and the copy must show it too. Which operations, is a matter of a seed
//! that a failure tells; `AILURUS_SEED` plays one again.

use super::Format;
use super::home::{Home, Message, Shown, change, expunge, scratch, set, show, store, text};
use super::spawner::Program;
use crate::faulty::NoSync;
use crate::random::Random;
use ailurus_store::{Access, Mailbox, SystemClock};
use ailurus_sys::signals::{Signal, SignalPipe};
use ailurus_types::{FlagOp, InternalDate, SystemFlags, Uid, UidValidity};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) fn the_reference_and_we_take_turns(format: &'static Format) {
    if format.reference.is_none() || format.only.is_some() {
        return;
    }
    let Some(program) = find("mailutil") else { return };
    let (seeds, steps) = if super::long() { (40, 100) } else { (2, 30) };
    for seed in super::seeds(seeds) {
        let Some(mut turns) = Turns::begin(format, &program, seed) else { return };
        super::telling(&format!("AILURUS_SEED={seed}"), || turns.run(steps));
    }
}

/// Returns the path of a program of somebody else, if it is installed.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    let folders = ["/usr/bin", "/usr/sbin", "/usr/local/bin"];
    let found = folders.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.exists());
    let required = std::env::var_os("AILURUS_REQUIRE_PEERS").is_some_and(|value| value == "1");
    assert!(found.is_some() || !required, "{name} is required and missing");
    if found.is_none() {
        eprintln!("skipped: no {name}");
    }
    found
}

/// It knows no mailboxes of root, and takes nobody for an anonymous visitor.
const PLAIN_USER: u32 = 1;

struct Turns {
    home: Home,
    program: PathBuf,
    random: Random,
    /// UIDs are known once our driver was asked.
    model: Vec<(Option<Uid>, Shown)>,
    validity: Option<UidValidity>,
    largest: u32,
    session: Option<Box<dyn Mailbox>>,
    number: usize,
    _scratch: tempfile::TempDir,
}

/// What may be done next.
type Step = fn(&mut Turns);

const KEYWORDS: [&str; 3] = ["Work", "$Forwarded", "later"];

impl Turns {
    /// `None` where nothing can be made.
    fn begin(format: &'static Format, program: &Path, seed: u64) -> Option<Self> {
        // It asks who has the lock for it, and that is this process.
        SignalPipe::install(&[Signal::User2]).unwrap();
        let scratch = scratch();
        let directory = scratch.path().join("home");
        fs::create_dir(&directory).unwrap();
        (format.furnish)(&directory);
        let home = Home::with(format, &directory, Arc::new(NoSync), |environment| {
            environment.lock_dir = "/tmp".into();
            environment.clock = Arc::new(SystemClock::default());
        });
        if !home.abilities().creatable || home.abilities().read_only {
            return None;
        }
        let turns = Self {
            home,
            program: program.into(),
            random: Random::new(seed),
            model: Vec::new(),
            validity: None,
            largest: 0,
            session: None,
            number: 0,
            _scratch: scratch,
        };
        if seed.is_multiple_of(2) {
            turns.home.create();
        } else {
            turns.mailutil(&["create", &turns.made("box")]);
        }
        Some(turns)
    }

    /// Returns the name that makes mailutil create a mailbox of the format.
    fn made(&self, name: &str) -> String {
        match self.home.format.prefix {
            "" => format!("#driver.{}/{name}", self.home.format.name),
            prefix => format!("{prefix}{name}"),
        }
    }

    fn named(&self, name: &str) -> String {
        format!("{}{name}", self.home.format.prefix)
    }

    #[track_caller]
    fn mailutil(&self, arguments: &[&str]) -> String {
        eprintln!("  mailutil {}", arguments.join(" "));
        mailutil(&self.program, self.home.directory(), arguments)
    }

    fn session(&mut self) -> &mut dyn Mailbox {
        if self.session.is_none() {
            let mailbox = self.home.open();
            assert!(mailbox.snapshot().writable, "{:?}", self.home.notices());
            self.session = Some(mailbox);
        }
        &mut **self.session.as_mut().unwrap()
    }

    fn close(&mut self) {
        if let Some(mailbox) = self.session.take() {
            eprintln!("  we close");
            mailbox.close().unwrap();
        }
    }

    /// Lets go of a mailbox that only one session can have: it would have to be asked for, which another check does.
    fn give_way(&mut self) {
        if !self.home.abilities().shared_access {
            self.close();
        }
    }

    /// Returns a new message: how it is given, and how it will be shown.
    fn new_message(&mut self) -> (Message, Shown) {
        self.number += 1;
        let mut octets = text(self.number);
        if self.random.one_in(3) {
            octets.extend_from_slice(b">From there\r\n.\r\nFrom\r\ncaf\xe9 \xff\r\n\r\n");
        }
        let mut system = SystemFlags::NONE;
        for (flag, _) in SystemFlags::NAMED {
            if flag != SystemFlags::DELETED && self.random.one_in(3) {
                system |= flag;
            }
        }
        let zone = *self.random.pick(&[0, 120, -480, 330]);
        let seconds = 1_600_000_000 + i64::try_from(self.random.below(100_000_000)).unwrap();
        let date = InternalDate::from_timestamp(seconds, zone);
        let message = Message { text: octets.clone(), system, keywords: Vec::new(), date: Some(date) };
        (message, Shown { uid: Uid::MIN, system, keywords: Vec::new(), date, text: octets })
    }

    fn we_append(&mut self) {
        let (message, shown) = self.new_message();
        self.home.append(&message).unwrap();
        self.model.push((None, shown));
    }

    /// It takes the message from a traditional mailbox, whatever ours is.
    fn mailutil_appends(&mut self) {
        let (message, mut shown) = self.new_message();
        let has = |flag| message.system.contains(flag);
        let letters = [(SystemFlags::ANSWERED, 'A'), (SystemFlags::FLAGGED, 'F'), (SystemFlags::DRAFT, 'T')];
        let letters: String =
            letters.iter().filter(|(flag, _)| has(*flag)).map(|(_, letter)| *letter).collect();
        let status = if has(SystemFlags::SEEN) { "RO" } else { "O" };
        let from = format!("From ada@example.com {}\n", message.date.expect("each has one").from_line());
        let octets: Vec<u8> = message.text.iter().copied().filter(|octet| *octet != b'\r').collect();
        let end = octets.windows(2).position(|two| two == b"\n\n").expect("each has a header") + 1;
        let fields = format!("Status: {status}\nX-Status: {letters}\n");
        let file = [from.as_bytes(), &octets[..end], fields.as_bytes(), &octets[end..], b"\n"].concat();
        fs::write(self.home.directory().join("source"), file).unwrap();
        let name = self.named("box");
        self.mailutil(&["append", "source", &name]);
        shown.text.extend_from_slice(self.added());
        if self.home.format.reference_forgets {
            forget(&mut shown);
        }
        self.model.push((None, shown));
    }

    fn added(&self) -> &'static [u8] {
        self.home.format.reference.unwrap_or_default().as_bytes()
    }

    fn we_store(&mut self) {
        if self.model.is_empty() {
            return;
        }
        let at = self.random.below(self.model.len());
        let uid = self.model[at].0.expect("asked for after each operation").get();
        let permanent = self.session().snapshot().permanent;
        let (flag, _) = *self.random.pick(&SystemFlags::NAMED);
        let word = self
            .random
            .one_in(2)
            .then(|| *self.random.pick(&KEYWORDS))
            .filter(|_| permanent.new_keywords || permanent.keywords);
        let system = if word.is_some() { SystemFlags::NONE } else { flag };
        let op = if self.random.one_in(3) { FlagOp::Remove } else { FlagOp::Add };
        eprintln!("  {op:?} {system:?} {word:?} of {uid}");
        drop(store(self.session(), &set(&[uid]), &change(op, system, word.as_slice())).unwrap());
        let shown = &mut self.model[at].1;
        shown.keywords.retain(|known| Some(known.as_str()) != word);
        match op {
            FlagOp::Remove => shown.system = shown.system.without(system),
            _ => {
                shown.system |= system;
                shown.keywords.extend(word.map(str::to_owned));
                shown.keywords.sort();
            }
        }
    }

    fn we_expunge(&mut self) {
        let count = 1 + self.random.below(3);
        let gone: Vec<_> = (0..count.min(self.model.len()))
            .map(|_| self.model.remove(self.random.below(self.model.len())).0.expect("asked for").get())
            .collect();
        eprintln!("  expunge {gone:?}");
        drop(expunge(self.session(), &set(&gone)).unwrap());
    }

    /// It flags messages and expunges all that have the flag.
    fn mailutil_prunes(&mut self) {
        if self.model.is_empty() {
            return;
        }
        if self.home.abilities().shared_expunge {
            self.give_way();
        } else {
            self.close();
        }
        let at = self.random.below(self.model.len());
        let subject = |text: &[u8]| {
            let text = String::from_utf8_lossy(text).into_owned();
            text.lines()
                .find_map(|line| line.strip_prefix("Subject: ").map(str::to_owned))
                .expect("each has one")
        };
        let wanted = subject(&self.model[at].1.text);
        let knows_deleted = !self.home.format.reference_forgets;
        let gone = |shown: &Shown| {
            let is_deleted = knows_deleted && shown.system.contains(SystemFlags::DELETED);
            subject(&shown.text).contains(&wanted) || is_deleted
        };
        self.model.retain(|(_, shown)| !gone(shown));
        let name = self.named("box");
        let said = self.mailutil(&["prune", &name, &format!("SUBJECT \"{wanted}\"")]);
        assert!(said.contains("purged") && !said.contains("No matching"), "{said}");
    }

    fn mailutil_checks(&mut self) {
        self.give_way();
        let name = self.named("box");
        let said = self.mailutil(&["check", &name]);
        assert!(said.contains(&format!("{} total", self.model.len())), "{said}");
    }

    fn mailutil_copies(&mut self) {
        if self.model.is_empty() {
            return;
        }
        self.give_way();
        self.number += 1;
        let copy = format!("copy{}", self.number);
        let (name, made) = (self.named("box"), self.made(&copy));
        self.mailutil(&["copy", "-kwcopy", &name, &made]);
        let at = self.home.at_name(&copy);
        let mut mailbox = self.home.open_at(&at, Access::ReadWrite).unwrap();
        let mut copied = show(&mut *mailbox);
        mailbox.close().unwrap();
        for shown in &mut copied {
            let length = shown.text.strip_suffix(self.added()).expect("it adds that").len();
            shown.text.truncate(length);
        }
        let mut wanted: Vec<_> = self.model.iter().map(|(_, shown)| shown.clone()).collect();
        if self.home.format.reference_forgets {
            wanted.iter_mut().for_each(forget);
        }
        self.compare(&copied, &wanted, "the copy");
        self.home.driver().delete(&at).unwrap();
    }

    fn close_or_refresh(&mut self) {
        if self.random.one_in(2) {
            self.close();
        } else {
            drop(self.session().refresh().unwrap());
        }
    }

    /// Compares messages, but for their UIDs.
    #[track_caller]
    fn compare(&self, shown: &[Shown], wanted: &[Shown], what: &str) {
        let plain = |shown: &Shown| {
            let mut shown = shown.clone();
            shown.uid = Uid::MIN;
            if self.home.abilities().utc_dates {
                shown.date = InternalDate::from_timestamp(shown.date.timestamp(), 0);
            }
            shown
        };
        let shown: Vec<_> = shown.iter().map(plain).collect();
        let wanted: Vec<_> = wanted.iter().map(plain).collect();
        assert_eq!(shown, wanted, "{what}");
    }

    /// Compares what we show with the model: in our session, or one that only reads.
    #[track_caller]
    fn verify(&mut self) {
        let (shown, validity) = match &mut self.session {
            Some(mailbox) => {
                drop(mailbox.refresh().unwrap());
                (show(&mut **mailbox), mailbox.snapshot().uid_validity)
            }
            None => {
                // New UIDs are told by sessions that write them down.
                let mut mailbox = self.home.open();
                let shown = show(&mut *mailbox);
                let validity = mailbox.snapshot().uid_validity;
                mailbox.close().unwrap();
                (shown, validity)
            }
        };
        let wanted: Vec<_> = self.model.iter().map(|(_, shown)| shown.clone()).collect();
        self.compare(&shown, &wanted, "ours");
        if self.home.abilities().sticky_uids {
            assert_eq!(*self.validity.get_or_insert(validity), validity);
        }
        for (shown, (uid, _)) in shown.iter().zip(&mut self.model) {
            if uid.is_none() {
                assert!(shown.uid.get() > self.largest, "UID {} of a new message", shown.uid);
                self.largest = shown.uid.get();
            }
            assert!(uid.is_none_or(|uid| uid == shown.uid), "UID {uid:?} became {}", shown.uid);
            *uid = Some(shown.uid);
        }
    }

    fn run(&mut self, steps: usize) {
        let choices: [(&str, Step); 9] = [
            ("we append", Self::we_append),
            ("it appends", Self::mailutil_appends),
            ("we store", Self::we_store),
            ("we store", Self::we_store),
            ("we expunge", Self::we_expunge),
            ("it prunes", Self::mailutil_prunes),
            ("it checks", Self::mailutil_checks),
            ("it copies", Self::mailutil_copies),
            ("we look", Self::close_or_refresh),
        ];
        for step in 0..steps {
            // Something has to be there first.
            let (what, act) = choices[if step < 6 { step % 3 } else { self.random.below(choices.len()) }];
            // Shown when the check fails.
            eprintln!("{what}");
            act(self);
            self.verify();
        }
        self.close();
        self.mailutil_checks();
        self.mailutil_copies();
        self.verify();
        let left = super::home::locks(self.home.directory());
        assert_eq!(left, Vec::<PathBuf>::new(), "locks are taken away");
    }
}

/// What a message is to us that the reference has written where it keeps no flags: it was read after it was written.
fn forget(shown: &mut Shown) {
    (shown.system, shown.keywords) = (SystemFlags::SEEN, Vec::new());
}

/// Runs mailutil as the owner of the home, and returns what it said.
#[track_caller]
pub(super) fn mailutil(path: &Path, home: &Path, arguments: &[&str]) -> String {
    let output = home.with_file_name("said");
    fs::write(&output, "").unwrap();
    let ids = rustix::process::geteuid().is_root().then_some((PLAIN_USER, PLAIN_USER));
    if ids.is_some() {
        // Others must come by what is above, too.
        let above = home.parent().expect("a home is in a scratch directory");
        fs::set_permissions(above, fs::Permissions::from_mode(0o755)).unwrap();
        give_away(home);
    }
    let name = home.to_str().unwrap();
    let environment = [("HOME", name), ("PATH", "/usr/bin:/bin"), ("TZ", "UTC"), ("LC_ALL", "C")];
    let program = Program {
        path: path.into(),
        arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
        environment: environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        directory: home.into(),
        ids,
        output: output.clone(),
    };
    let status = program.run();
    let said = String::from_utf8_lossy(&fs::read(&output).unwrap()).into_owned();
    // It tells nothing by its exit status where it purges.
    assert!(status == 0 || arguments[0] == "prune", "mailutil {arguments:?}: {status}\n{said}");
    said
}

/// Makes all in the home the plain user's.
fn give_away(path: &Path) {
    chown(path, Some(PLAIN_USER), Some(PLAIN_USER)).unwrap();
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give_away(&entry.unwrap().path()));
    }
}
