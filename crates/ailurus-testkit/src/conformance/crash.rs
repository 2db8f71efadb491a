//! Every operation cut short: killed before each change and within it, the disk full, syncs failing, the power lost.
//!
//! Afterwards the mailbox opens, holds every message that was acknowledged once and none that nobody wrote, no UID that
//! was told names another message, an append is there whole or not at all (one of a single message may be cut short
//! where the format says `torn_appends`), no lock and no scratch file is left, and a second recovery has nothing to do.

use super::Format;
use super::home::{Home, Message, Shown, change, expunge, locks, scratch, set, show, store, text, told};
use super::peers::{find, mailutil};
use super::process::number_of;
use crate::faulty::{Fault, FaultyDisk, NoSync};
use ailurus_formats::disk::Disk;
use ailurus_store::{Access, Appended, Error, Location, Mailbox, Manner, Result};
use ailurus_types::{FlagOp, SystemFlags, Uid, UidSet, UidValidity};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An operation, and what it may change in the mailboxes `box` and `other`.
#[derive(Clone, Copy)]
struct Case {
    run: fn(&Home, &mut Told) -> Result<()>,
    /// Messages of `box` that may be gone.
    goes: &'static [usize],
    /// Messages that may be there, and where.
    comes: (&'static str, &'static [usize]),
    /// Messages of `box` that may have one more flag and keyword.
    flagged: &'static [usize],
    names: Names,
}

/// What becomes of mailbox names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Names {
    Stay,
    /// `new` is made.
    New,
    /// `box` is deleted.
    Gone,
    /// `box` becomes `new`.
    Moved,
}

const NOTHING: Case =
    Case { run: |_, _| Ok(()), goes: &[], comes: ("box", &[]), flagged: &[], names: Names::Stay };

/// What the user was told to be done.
#[derive(Debug, Default)]
struct Told {
    come: Vec<(Option<(UidValidity, Uid)>, usize)>,
    gone: bool,
    flagged: bool,
    named: bool,
}

/// What is known of a mailbox before.
#[derive(Clone, Debug)]
struct Known {
    validity: UidValidity,
    messages: BTreeMap<usize, Shown>,
    /// Of these the UIDs were told to a session that could write them down.
    told: BTreeSet<usize>,
}

/// The keyword and flag that [`run_store`] sets; the mailbox has the keyword already.
const KEYWORD: &str = "Known";
const NEW_KEYWORD: &str = "AsYetUnknown";
const FLAG: SystemFlags = SystemFlags::ANSWERED;

pub(super) fn an_opening_survives_a_crash(format: &'static Format) {
    survive(
        format,
        Case { run: |home, _| home.open_at(&home.at_box(), Access::ReadWrite)?.close(), ..NOTHING },
    );
}

pub(super) fn an_append_survives_a_crash(format: &'static Format) {
    let run = |home: &Home, done: &mut Told| run_append(home, done, &[20]);
    survive(format, Case { run, comes: ("box", &[20]), ..NOTHING });
}

pub(super) fn an_append_of_several_survives_a_crash(format: &'static Format) {
    let run = |home: &Home, done: &mut Told| run_append(home, done, &[21, 22, 23]);
    survive(format, Case { run, comes: ("box", &[21, 22, 23]), ..NOTHING });
}

pub(super) fn an_append_beside_a_session_survives_a_crash(format: &'static Format) {
    let run = |home: &Home, done: &mut Told| {
        let mut session = home.open_at(&home.at_box(), Access::ReadWrite)?;
        run_append(home, done, &[20, 24])?;
        drop(session.refresh()?);
        session.close()
    };
    survive(format, Case { run, comes: ("box", &[20, 24]), ..NOTHING });
}

pub(super) fn a_store_survives_a_crash(format: &'static Format) {
    let run = |home: &Home, done: &mut Told| run_store(home, done, KEYWORD, Mailbox::close);
    survive(format, Case { run, flagged: &[1, 4, 6], ..NOTHING });
}

pub(super) fn a_new_keyword_survives_a_crash(format: &'static Format) {
    let run = |home: &Home, done: &mut Told| run_store(home, done, NEW_KEYWORD, Mailbox::close);
    survive(format, Case { run, flagged: &[1, 4, 6], ..NOTHING });
}

pub(super) fn a_checkpoint_survives_a_crash(format: &'static Format) {
    let run = |home: &Home, done: &mut Told| {
        run_store(home, done, KEYWORD, |mut mailbox| mailbox.checkpoint().map(drop))
    };
    survive(format, Case { run, flagged: &[1, 4, 6], ..NOTHING });
}

pub(super) fn an_expunge_survives_a_crash(format: &'static Format) {
    survive(format, Case { run: run_expunge, goes: &[1, 3, 6], ..NOTHING });
}

pub(super) fn an_expunge_of_all_survives_a_crash(format: &'static Format) {
    let run = |home: &Home, done: &mut Told| {
        let mut mailbox = home.open_at(&home.at_box(), Access::ReadWrite)?;
        drop(expunge(&mut *mailbox, &UidSet::all())?);
        done.gone = true;
        mailbox.close()
    };
    survive(format, Case { run, goes: &[1, 2, 3, 4, 5, 6, 7, 8], ..NOTHING });
}

pub(super) fn an_expunge_beside_a_session_survives_a_crash(format: &'static Format) {
    let run = |home: &Home, done: &mut Told| {
        let session = home.open_at(&home.at_box(), Access::ReadOnly)?;
        match run_expunge(home, done) {
            Err(Error::InUse { .. }) if !home.abilities().shared_expunge => return Ok(()),
            outcome => outcome?,
        }
        drop(session);
        home.open_at(&home.at_box(), Access::ReadWrite)?.close()
    };
    survive(format, Case { run, goes: &[1, 3, 6], ..NOTHING });
}

pub(super) fn a_mixture_survives_a_crash(format: &'static Format) {
    let run = |home: &Home, done: &mut Told| {
        run_store(home, done, NEW_KEYWORD, Mailbox::close)?;
        run_append(home, done, &[20])?;
        run_expunge(home, done)
    };
    survive(format, Case { run, goes: &[1, 3, 6], comes: ("box", &[20]), flagged: &[1, 4, 6], ..NOTHING });
}

pub(super) fn a_copy_survives_a_crash(format: &'static Format) {
    survive_with_names(format, Case { run: run_copy, comes: ("other", &[2, 4]), ..NOTHING });
}

pub(super) fn a_creation_survives_a_crash(format: &'static Format) {
    let run = |home: &Home, done: &mut Told| {
        home.mailboxes.create(&home.name("new"))?;
        done.named = true;
        Ok(())
    };
    survive_with_names(format, Case { run, names: Names::New, ..NOTHING });
}

pub(super) fn a_deletion_survives_a_crash(format: &'static Format) {
    let run = |home: &Home, done: &mut Told| {
        home.mailboxes.delete(&home.name("box"))?;
        done.named = true;
        Ok(())
    };
    survive_with_names(format, Case { run, names: Names::Gone, ..NOTHING });
}

pub(super) fn a_rename_survives_a_crash(format: &'static Format) {
    let run = |home: &Home, done: &mut Told| {
        home.mailboxes.rename(&home.name("box"), &home.name("new"))?;
        done.named = true;
        Ok(())
    };
    survive_with_names(format, Case { run, names: Names::Moved, ..NOTHING });
}

/// What is left after one of ours was killed and another came by is fit for the reference.
pub(super) fn the_reference_opens_what_a_crash_leaves(format: &'static Format) {
    if format.reference.is_none() || format.only.is_some() {
        return;
    }
    let (Some(program), Some(template)) = (find("mailutil"), Template::new(format)) else { return };
    let append = |home: &Home, done: &mut Told| run_append(home, done, &[21, 22, 23]);
    let append = Case { run: append, comes: ("box", &[21, 22, 23]), ..NOTHING };
    let expunge = Case { run: run_expunge, goes: &[1, 3, 6], ..NOTHING };
    let mut trial = Trial { format, case: NOTHING, template, names: None };
    for case in [append, expunge] {
        trial.case = case;
        let (changes, ..) = trial.uncut();
        for point in points(changes + 1, 5) {
            let (scratch, ..) = trial.run(Fault::KillBefore(point));
            let home = trial.home(scratch.path(), Arc::new(NoSync));
            let count = home.show().len();
            let said = mailutil(&program, home.directory(), &["check", &format!("{}box", format.prefix)]);
            assert!(said.contains(&format!("{count} total")), "killed before change {point}: {said}");
        }
    }
}

fn run_append(home: &Home, done: &mut Told, numbers: &[usize]) -> Result<()> {
    let messages: Vec<_> = numbers
        .iter()
        .map(|number| Message { system: SystemFlags::DRAFT, ..Message::number(*number) })
        .collect();
    let appended = home.append_at(&home.at_box(), &messages)?;
    acknowledge(done, appended, numbers);
    Ok(())
}

fn acknowledge(done: &mut Told, appended: Appended, numbers: &[usize]) {
    let uids = appended.uids.map(|(validity, uids)| uids.into_iter().map(move |uid| (validity, uid)));
    let mut uids = uids.into_iter().flatten();
    done.come.extend(numbers.iter().map(|number| (uids.next(), *number)));
}

fn run_store(
    home: &Home,
    done: &mut Told,
    keyword: &str,
    finish: fn(Box<dyn Mailbox>) -> Result<()>,
) -> Result<()> {
    let mut mailbox = home.open_at(&home.at_box(), Access::ReadWrite)?;
    let uids: Vec<_> = [1, 4, 6].to_vec();
    let mut edit = mailbox.edit()?;
    edit.store(&set(&uids), &change(FlagOp::Add, FLAG, &[keyword]))?;
    drop(edit.commit()?);
    let meant = means_uids(home, &*mailbox);
    done.flagged = meant && !mailbox.is_dirty();
    finish(mailbox)?;
    done.flagged = meant;
    Ok(())
}

/// Tells whether the session's UIDs are those of the mailbox. Where they could not be read, it can have its own.
fn means_uids(home: &Home, mailbox: &dyn Mailbox) -> bool {
    mailbox.snapshot().sticky_uids || !home.abilities().sticky_uids
}

fn run_expunge(home: &Home, done: &mut Told) -> Result<()> {
    let mut mailbox = home.open_at(&home.at_box(), Access::ReadWrite)?;
    drop(expunge(&mut *mailbox, &set(&[1, 3, 6]))?);
    done.gone = means_uids(home, &*mailbox);
    mailbox.close()
}

fn run_copy(home: &Home, done: &mut Told) -> Result<()> {
    let mut source = home.open_at(&home.at_box(), Access::ReadOnly)?;
    let appended = home.copy(&mut *source, &[2, 4], &home.at_name("other"))?;
    acknowledge(done, appended, &[2, 4]);
    Ok(())
}

fn survive_with_names(format: &'static Format, case: Case) {
    if format.only.is_none() {
        survive(format, case);
    }
}

/// Runs a case with every fault at the points that matter.
fn survive(format: &'static Format, case: Case) {
    let template = Template::new(format);
    let Some(template) = template else { return };
    let mut trial = Trial { format, case, template, names: None };
    let (changes, octets, syncs) = trial.uncut();
    for point in points(changes + 1, 12) {
        trial.cut(Fault::KillBefore(point), None);
        trial.cut(Fault::CutAt(point), None);
    }
    let seeds = if super::long() { 20 } else { 1 };
    for point in points(changes + 1, 12) {
        for seed in 0..seeds {
            trial.cut(Fault::KillBefore(point), Some(seed * 1000 + point as u64));
        }
    }
    for at in points(octets.len(), 8) {
        trial.cut(Fault::FullAfter(octets[at]), None);
        trial.cut(Fault::FullAfter(octets[at] + 100), None);
    }
    for point in points(syncs, 6) {
        trial.cut(Fault::SyncFails(point), None);
        trial.cut(Fault::SyncFails(point), Some(point as u64));
    }
}

/// Returns all numbers below `end`, or about so many, evenly.
fn points(end: usize, most: usize) -> Vec<usize> {
    if super::long() || end <= most {
        return (0..end).collect();
    }
    (0..most).map(|n| n * (end - 1) / (most - 1)).collect()
}

/// A home as it is before each try.
struct Template {
    /// What is there by its path below the scratch directory.
    files: Vec<(PathBuf, Entry)>,
    names: BTreeSet<String>,
    before: BTreeMap<&'static str, Known>,
}

enum Entry {
    Directory,
    /// Formats of one file a message take dates from the times.
    File {
        content: Vec<u8>,
        times: fs::FileTimes,
    },
}

impl Template {
    /// `box` has the messages 1 to 8, the last two of which nobody has seen, and were delivered by others where there
    /// are such; `other` has 11 and 12. `None` where nothing can be written.
    fn new(format: &'static Format) -> Option<Self> {
        let home = Home::new(format);
        if home.abilities().read_only {
            return None;
        }
        home.fill(4);
        let mut mailbox = home.open();
        for (number, (flag, _)) in (1..=4).zip(SystemFlags::NAMED) {
            let names: &[&str] = if number % 2 == 0 { &[KEYWORD] } else { &[] };
            drop(store(&mut *mailbox, &set(&[number]), &change(FlagOp::Add, flag, names)).unwrap());
        }
        mailbox.close().unwrap();
        (5..=6).for_each(|number| drop(home.append(&Message::number(number)).unwrap()));
        for number in 7..=8 {
            match format.delivery {
                Some(delivery) => {
                    let path = home.open_at(&home.at_box(), Access::ReadOnly).unwrap().path().to_path_buf();
                    let text = String::from_utf8(text(number)).unwrap().replace("\r\n", "\n");
                    let octets = [fs::read(&path).unwrap(), delivery(&text)].concat();
                    fs::write(&path, octets).unwrap();
                }
                None => drop(home.append(&Message::number(number)).unwrap()),
            }
        }
        let mut before = BTreeMap::new();
        let seen = if format.delivery.is_some() { 6 } else { 8 };
        before.insert("box", known(&home, &home.at_box(), seen));
        if home.has_names() {
            home.driver().create(&home.at_name("other")).unwrap();
            let messages = [Message::number(11), Message::number(12)];
            home.append_at(&home.at_name("other"), &messages).unwrap();
            before.insert("other", known(&home, &home.at_name("other"), 99));
        }
        let root = home.directory().parent().unwrap().to_path_buf();
        let mut files = Vec::new();
        walk(&root, &root, &mut files);
        Some(Self { files, names: names_in(&home), before })
    }

    /// Returns a copy, in which the files have other inodes.
    fn lay_out(&self) -> tempfile::TempDir {
        let scratch = scratch();
        for (path, entry) in &self.files {
            let path = scratch.path().join(path);
            match entry {
                Entry::Directory => fs::create_dir(path).unwrap(),
                Entry::File { content, times } => {
                    let mut file = fs::File::create(path).unwrap();
                    file.write_all(content).unwrap();
                    file.set_times(*times).unwrap();
                }
            }
        }
        scratch
    }
}

fn known(home: &Home, at: &Location, seen: usize) -> Known {
    let mut mailbox = home.driver().open(at, Access::ReadOnly, Manner::Silent).unwrap();
    let messages = by_number(show(&mut *mailbox)).expect("whole messages, once each");
    let told = messages.keys().copied().filter(|number| *number <= seen).collect();
    Known { validity: mailbox.snapshot().uid_validity, messages, told }
}

fn by_number(shown: Vec<Shown>) -> std::result::Result<BTreeMap<usize, Shown>, String> {
    let mut messages = BTreeMap::new();
    for shown in shown {
        let number = number_of(&shown.text).ok_or_else(|| format!("no message of ours: {shown:?}"))?;
        if let Some(twice) = messages.insert(number, shown) {
            return Err(format!("message {number} is there twice: {twice:?}"));
        }
    }
    Ok(messages)
}

/// Takes out what there is of a message whose append was not acknowledged: it is behind all that was there. A power loss
/// can keep a later page of it without the one where it begins.
fn drop_torn(shown: &mut Vec<Shown>, known: &Known) {
    let last = known.messages.values().map(|shown| shown.uid).max();
    shown.pop_if(|shown| Some(shown.uid) > last && number_of(&shown.text).is_none());
    let Some(shown) = shown.last_mut().filter(|shown| number_of(&shown.text).is_none()) else { return };
    let is_start = |before: &&Shown| {
        shown.text.strip_prefix(before.text.as_slice()).is_some_and(|rest| rest.contains(&0))
    };
    if let Some(before) = known.messages.values().find(is_start) {
        shown.text.clone_from(&before.text);
    }
}

fn walk(root: &Path, directory: &Path, files: &mut Vec<(PathBuf, Entry)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().to_path_buf();
        if path.is_dir() {
            files.push((name, Entry::Directory));
            walk(root, &path, files);
            continue;
        }
        let found = fs::metadata(&path).unwrap();
        let times = fs::FileTimes::new().set_accessed(found.accessed().unwrap());
        let times = times.set_modified(found.modified().unwrap());
        files.push((name, Entry::File { content: fs::read(&path).unwrap(), times }));
    }
}

struct Trial {
    format: &'static Format,
    case: Case,
    template: Template,
    /// What is in the home after the operation and the next sessions when nothing is cut; known once that was done.
    names: Option<BTreeSet<String>>,
}

impl Trial {
    /// Runs the operation to its end, and returns how many changes it makes, where it has written what, and how many
    /// syncs it asks for.
    fn uncut(&mut self) -> (usize, Vec<u64>, usize) {
        let (scratch, disk, done, outcome) = self.run(Fault::None);
        outcome.unwrap();
        self.names = None;
        self.verify(scratch.path(), &done, "uncut");
        self.names = Some(names_in(&self.home(scratch.path(), Arc::new(NoSync))));
        (disk.changes(), disk.octets(), disk.syncs())
    }

    /// Returns a home where what a dead process left is stale at once.
    fn home(&self, scratch: &Path, disk: Arc<dyn Disk>) -> Home {
        Home::with(self.format, &scratch.join("home"), disk, |environment| environment.dot_lock_timeout = 0)
    }

    fn run(&self, fault: Fault) -> (tempfile::TempDir, Arc<FaultyDisk>, Told, Result<()>) {
        let scratch = self.template.lay_out();
        let disk = Arc::new(FaultyDisk::new(scratch.path(), fault).by_pages());
        let home = self.home(scratch.path(), disk.clone());
        let mut done = Told::default();
        let outcome = (self.case.run)(&home, &mut done);
        (scratch, disk, done, outcome)
    }

    /// Runs the operation with a fault, and looks at what is left; with a seed, after a power loss.
    fn cut(&self, fault: Fault, power_loss: Option<u64>) {
        let (scratch, disk, done, outcome) = self.run(fault);
        let what = format!("{fault:?}, power lost: {power_loss:?}, {done:?}");
        if let Some(seed) = power_loss {
            disk.lose_power(seed);
        } else if !disk.is_dead() {
            let left = locks(&scratch.path().join("home"));
            assert!(left.is_empty(), "{what}: the process lives, and leaves {left:?}; {outcome:?}");
        }
        super::telling(&format!("{what}, {outcome:?}"), || self.verify(scratch.path(), &done, &what));
    }

    fn verify(&self, scratch: &Path, done: &Told, what: &str) {
        let home = self.home(scratch, Arc::new(NoSync));
        home.pass(1000);
        let was_moved = self.was_moved(&home, done, what);
        let gone = self.case.names == Names::Gone && self.was_deleted(&home, done, what);
        for (name, known) in self.template.before.iter().filter(|(name, _)| !gone || **name != "box") {
            let name = if was_moved && *name == "box" { "new" } else { name };
            let what = format!("{what}, mailbox {name}");
            let at = if self.format.only.is_some() { home.at_box() } else { home.at_name(name) };
            self.verify_mailbox(&home, &at, known, done, &what);
        }
        if self.case.names == Names::New {
            verify_new(&home, done, what);
        }
        // Nobody comes by a name or a file that is no more.
        if matches!(self.case.names, Names::Stay | Names::New) {
            let left = locks(&scratch.join("home"));
            let left: Vec<_> = left.into_iter().filter(|path| !is_hitching_post(path)).collect();
            assert!(left.is_empty(), "{what}: locks are left: {left:?}");
        }
        self.verify_names(&home, what);
    }

    /// Tells whether the mailbox has its new name. It has one of them.
    fn was_moved(&self, home: &Home, done: &Told, what: &str) -> bool {
        if self.case.names != Names::Moved {
            return false;
        }
        let exists = |name: &str| home.driver().status(&home.at_name(name)).is_ok();
        let (old, new) = (exists("box"), exists("new"));
        assert!(old != new, "{what}: the old name is there: {old}, the new one: {new}");
        assert!(new || !done.named, "{what}: the new name is gone again");
        new
    }

    fn was_deleted(&self, home: &Home, done: &Told, what: &str) -> bool {
        match home.driver().status(&home.at_box()) {
            Ok(_) => {
                assert!(!done.named, "{what}: the deleted mailbox is back");
                false
            }
            Err(Error::NotFound(_)) => {
                // Of a mailbox that is a directory, this may be there still: it is nobody's, and can be taken away.
                match home.mailboxes.delete(&home.name("box")) {
                    Ok(()) | Err(Error::NotFound(_)) => true,
                    Err(error) => panic!("{what}: what is left cannot be deleted: {error}"),
                }
            }
            // Half of a mailbox that is several files: what is left can be deleted.
            Err(error) => {
                let deleted = home.mailboxes.delete(&home.name("box"));
                assert!(deleted.is_ok(), "{what}: {error}, and then {deleted:?}");
                true
            }
        }
    }

    fn verify_mailbox(&self, home: &Home, at: &Location, known: &Known, done: &Told, what: &str) {
        let is_box = !what.ends_with("other");
        let comes: &[usize] = if is_box == (self.case.comes.0 == "box") { self.case.comes.1 } else { &[] };
        let goes: &[usize] = if is_box { self.case.goes } else { &[] };
        let half_deleted = is_box && self.case.names == Names::Gone && home.abilities().one_file_each;
        let mut mailbox =
            home.open_at(at, Access::ReadWrite).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(mailbox.snapshot().writable, "{what}: {:?}", home.notices());
        let mut shown = show(&mut *mailbox);
        let count = shown.len();
        if home.abilities().torn_appends && done.come.is_empty() && comes.len() == 1 {
            drop_torn(&mut shown, known);
        }
        let found = by_number(shown).unwrap_or_else(|why| panic!("{what}: {why}"));
        let validity = mailbox.snapshot().uid_validity;
        let sticky = home.abilities().sticky_uids;
        // A directory that is left of a deleted mailbox can be a mailbox still, which is another one then.
        let is_another = half_deleted && found.is_empty() && home.abilities().any_directory;
        let sticky = sticky && !is_another;
        assert!(!sticky || validity == known.validity, "{what}: UID validity {validity}");
        for (number, before) in &known.messages {
            let Some(now) = found.get(number) else {
                assert!(goes.contains(number) || half_deleted, "{what}: message {number} is lost");
                continue;
            };
            assert!(!done.gone || !goes.contains(number), "{what}: message {number} is back");
            let same_uid = now.uid == before.uid || !known.told.contains(number) || !sticky;
            assert!(same_uid, "{what}: message {number} had UID {}, and has {}", before.uid, now.uid);
            let flagged = is_box && self.case.flagged.contains(number);
            verify_flags(before, now, flagged.then_some(done.flagged), &format!("{what}, message {number}"));
        }
        let come = comes.iter().filter(|number| found.contains_key(number)).count();
        assert!(come == 0 || come == comes.len(), "{what}: {come} messages of an append of {}", comes.len());
        for (number, _) in found.iter().filter(|(number, _)| !known.messages.contains_key(number)) {
            assert!(comes.contains(number), "{what}: message {number} was never put there");
        }
        let mut most = found.values().map(|shown| shown.uid).max();
        for (uid, number) in done.come.iter().filter(|(_, number)| comes.contains(number)) {
            let now = found.get(number);
            let now = now.unwrap_or_else(|| panic!("{what}: acknowledged message {number} is lost"));
            let same = uid.is_none_or(|uid| uid == (validity, now.uid));
            assert!(same || !sticky, "{what}: UID {uid:?} was told of message {number}: {now:?}");
            most = most.max(uid.map(|(_, uid)| uid));
        }
        let told_before = known.messages.iter().filter(|(number, _)| known.told.contains(number));
        most = most.max(told_before.map(|(_, shown)| shown.uid).max());
        mailbox.close().unwrap_or_else(|error| panic!("{what}: {error}"));
        verify_next(home, at, count, most.filter(|_| sticky), what);
    }

    /// What is in the home was there before, or an operation that is not cut leaves it there. A lock whose mailbox is gone
    /// stays, and a journal that a power loss brought back after it was worked off is put aside, lest there be mail in it.
    fn verify_names(&self, home: &Home, what: &str) {
        let Some(names) = &self.names else { return };
        for name in names_in(home) {
            let is_known = self.template.names.contains(&name) || names.contains(&name);
            let is_orphan = name.ends_with(".orphan") && what.contains("power lost: Some");
            assert!(is_known || name.contains(".lock") || is_orphan, "{what}: {name} is left behind");
        }
    }
}

/// The sessions that come after the first one find nothing more to do, and the next message is one more than `count`, with
/// a UID above the largest that was told.
fn verify_next(home: &Home, at: &Location, count: usize, told_uid: Option<Uid>, what: &str) {
    let mut files = home.files();
    home.open_at(at, Access::ReadWrite).unwrap().close().unwrap();
    if home.abilities().late_notes && home.files() != files {
        files = home.files();
        home.open_at(at, Access::ReadWrite).unwrap().close().unwrap();
    }
    assert!(home.files() == files, "{what}: a second session finds more to do");

    let (_, next) = told(home.append_at(at, &[Message::number(99)]).unwrap());
    assert!(told_uid.is_none_or(|told| next > told), "{what}: UID {next} is given again");
    let mut mailbox = home.open_at(at, Access::ReadWrite).unwrap();
    assert_eq!(show(&mut *mailbox).len(), count + 1, "{what}");
    mailbox.close().unwrap();
}

fn names_in(home: &Home) -> BTreeSet<String> {
    let entries = fs::read_dir(home.directory()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// A process that is killed while it makes a dot-lock leaves the file that was to become it: it locks nothing.
fn is_hitching_post(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().contains(".lock."))
}

/// `flagged`: the message may have got [`FLAG`] and a keyword; `Some(true)`: it must.
#[track_caller]
fn verify_flags(before: &Shown, now: &Shown, flagged: Option<bool>, what: &str) {
    assert_eq!(now.date, before.date, "{what}");
    assert!(now.text == before.text, "{what}: {now:?}, before {before:?}");
    let keywords: Vec<_> =
        now.keywords.iter().filter(|name| ![KEYWORD, NEW_KEYWORD].contains(&name.as_str())).collect();
    let had: Vec<_> = before.keywords.iter().filter(|name| *name != KEYWORD).collect();
    assert_eq!(keywords, had, "{what}");
    match flagged {
        None => assert_eq!((now.system, &now.keywords), (before.system, &before.keywords), "{what}"),
        Some(must) => {
            let plus = before.system | FLAG;
            assert!(now.system == plus || (!must && now.system == before.system), "{what}: {now:?}");
            assert!(!must || !now.keywords.is_empty() || before.keywords.is_empty(), "{what}: {now:?}");
        }
    }
}

/// The new mailbox is there, or can be made now.
fn verify_new(home: &Home, done: &Told, what: &str) {
    let (at, name) = (home.at_name("new"), home.name("new"));
    let mut opened = home.open_at(&at, Access::ReadWrite);
    if opened.is_err() {
        assert!(!done.named, "{what}: the new mailbox is gone again");
        if let Err(error) = home.mailboxes.create(&name) {
            // What is left of it must be possible to take away.
            home.mailboxes.delete(&name).unwrap_or_else(|also| panic!("{what}: {error}, {also}"));
            home.mailboxes.create(&name).unwrap();
        }
        opened = home.open_at(&at, Access::ReadWrite);
    }
    let mailbox = opened.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(mailbox.snapshot().messages.is_empty() && mailbox.snapshot().writable, "{what}");
    mailbox.close().unwrap();
    let (_, uid) = told(home.append_at(&at, &[Message::number(1)]).unwrap());
    assert_eq!(uid, Uid::MIN, "{what}");
}
