use super::*;
use crate::disk::Os;
use ailurus_types::{Flags, Keyword, KeywordMask, SystemFlags};

const N: usize = 12;
type Sidecar = super::Sidecar<N>;
type Records = super::Records<N>;

struct Scratch {
    directory: tempfile::TempDir,
}

impl Scratch {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        Sidecar::path_in(self.directory.path())
    }

    fn sidecar(&self) -> Sidecar {
        Sidecar::new(Os::shared(), self.path(), 0o600)
    }

    fn content(&self) -> Vec<u8> {
        std::fs::read(self.path()).unwrap()
    }

    fn put(&self, content: &[u8]) {
        std::fs::write(self.path(), content).unwrap();
    }
}

fn uid(uid: u32) -> Uid {
    Uid::new(uid).unwrap()
}

fn validity(state: &State) -> u32 {
    state.uid_validity.get()
}

fn state(next: u32) -> State {
    let mut state = State::new(UidValidity::new(77).unwrap());
    state.uid_next = Uid::new(next);
    state.told = 2;
    state.note = b"note".to_vec();
    state.keywords.push(Keyword::new(b"Work"), 64).unwrap();
    state.keywords.push(None, 64).unwrap();
    state
}

fn record(number: u32) -> Record<N> {
    let keywords = KeywordMask(u64::from(number));
    let flags = Flags { system: SystemFlags::SEEN | SystemFlags::DRAFT, keywords };
    Record { uid: uid(number), flags, identity: [u8::try_from(number % 251).unwrap(); N] }
}

fn message(number: u32) -> Event<N> {
    let Record { uid, flags, identity } = record(number);
    Event::Message { uid, flags, identity }
}

/// A sidecar with messages 1 to `count`.
fn filled(scratch: &Scratch, count: u32) -> Sidecar {
    let mut sidecar = scratch.sidecar();
    let mut lock = sidecar.lock().unwrap();
    assert_eq!(sidecar.read(&lock, &mut Records::default()).unwrap(), Reading::Unusable);
    sidecar.replace(&mut lock, &state(count + 1), (1..=count).map(record)).unwrap();
    sidecar
}

fn read(sidecar: &mut Sidecar, records: &mut Records) -> Reading {
    let lock = sidecar.lock().unwrap();
    sidecar.read(&lock, records).unwrap()
}

fn append(sidecar: &mut Sidecar, state: &State, events: &[Event<N>]) {
    let lock = sidecar.lock().unwrap();
    sidecar.append(&lock, state, events.iter().copied()).unwrap();
}

#[test]
fn what_was_written_is_read_and_changes_cost_what_they_tell() {
    let scratch = Scratch::new();
    let mut writer = filled(&scratch, 5000);
    let (mut reader, mut records) = (scratch.sidecar(), Records::default());
    assert!(reader.has_news());
    assert_eq!(read(&mut reader, &mut records), Reading::Anew);
    assert_eq!(*records.finish(), (1..=5000).map(record).collect::<Vec<_>>());
    assert_eq!(reader.state(), Some(&state(5001)));
    assert!(!reader.has_news());
    assert_eq!(read(&mut reader, &mut records), Reading::Same);
    let before = scratch.content().len();
    let flags = Flags { system: SystemFlags::FLAGGED, ..Flags::default() };
    let moved = Record { identity: [200; N], ..record(9) };
    let events = [
        Event::Flags { uid: uid(3), flags },
        Event::Gone { uid: uid(5) },
        Event::Message { uid: moved.uid, flags: moved.flags, identity: moved.identity },
        message(5001),
    ];
    append(&mut writer, &state(5002), &events);
    assert!(scratch.content().len() - before < 200);
    assert!(reader.has_news() && !writer.has_news());
    assert_eq!(read(&mut reader, &mut records), Reading::More);
    let mut expected: Vec<_> = (1..=5001).filter(|n| *n != 5).map(record).collect();
    expected[2].flags = flags;
    expected[7] = moved;
    assert_eq!(*records.finish(), expected);
    assert_eq!(reader.state(), Some(&state(5002)));
    let mut fresh = Records::default();
    assert_eq!(read(&mut scratch.sidecar(), &mut fresh), Reading::Anew);
    assert_eq!(*fresh.finish(), expected);
}

#[test]
fn a_file_that_was_replaced_is_read_from_its_start() {
    let scratch = Scratch::new();
    let mut writer = filled(&scratch, 3);
    let (mut reader, mut records) = (scratch.sidecar(), Records::default());
    read(&mut reader, &mut records);
    for _ in 0..3 {
        // The same length, and after two rounds perhaps the same inode.
        let mut lock = writer.lock().unwrap();
        writer.replace(&mut lock, &state(4), (1..=3).map(record)).unwrap();
        drop(lock);
        assert!(reader.has_news());
        assert_eq!(read(&mut reader, &mut records), Reading::Anew);
        assert_eq!(records.finish().len(), 3);
    }
}

#[test]
fn who_waits_for_a_file_that_is_replaced_gets_the_new_one() {
    let scratch = Scratch::new();
    let mut writer = filled(&scratch, 3);
    let mut lock = writer.lock().unwrap();
    let mut waiting = scratch.sidecar();
    let waiter = std::thread::spawn(move || {
        let mut records = Records::default();
        read(&mut waiting, &mut records);
        records.finish().len()
    });
    std::thread::sleep(std::time::Duration::from_millis(50));
    writer.replace(&mut lock, &state(8), (1..=7).map(record)).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert!(!waiter.is_finished(), "the new file is locked, too");
    writer.append(&lock, &state(9), [message(8)]).unwrap();
    drop(lock);
    assert_eq!(waiter.join().unwrap(), 8);
}

#[test]
fn an_append_needs_the_last_block_only() {
    let scratch = Scratch::new();
    drop(filled(&scratch, 5000));
    let mut sidecar = scratch.sidecar();
    for next in 5001..5004 {
        let lock = sidecar.lock().unwrap();
        assert!(sidecar.read_state(&lock).unwrap());
        assert_eq!(sidecar.state(), Some(&state(next)));
        sidecar.append(&lock, &state(next + 1), [message(next)]).unwrap();
    }
    let mut records = Records::default();
    assert_eq!(read(&mut sidecar, &mut records), Reading::Anew, "not all was read before");
    assert_eq!(*records.finish(), (1..5004).map(record).collect::<Vec<_>>());
}

#[test]
fn many_changes_make_it_long_and_replacing_makes_it_short() {
    let scratch = Scratch::new();
    let mut sidecar = filled(&scratch, 10);
    let flags = Flags::default();
    let events = (0..10_000).map(|n| Event::Flags { uid: uid(n % 10 + 1), flags });
    let mut lock = sidecar.lock().unwrap();
    sidecar.append(&lock, &state(11), events).unwrap();
    assert!(sidecar.is_long());
    sidecar.replace(&mut lock, &state(11), (1..=10).map(record)).unwrap();
    assert!(!sidecar.is_long() && scratch.content().len() < 1000);
}

/// Reads a file as a new session does; returns the messages, where it is usable.
fn open(scratch: &Scratch) -> Option<(State, Vec<Record<N>>)> {
    let (mut sidecar, mut records) = (scratch.sidecar(), Records::default());
    match read(&mut sidecar, &mut records) {
        Reading::Unusable => None,
        _ => Some((sidecar.state().unwrap().clone(), records.finish().clone())),
    }
}

#[test]
fn a_torn_end_gives_no_uid_twice() {
    let scratch = Scratch::new();
    let mut sidecar = filled(&scratch, 3);
    let before = scratch.content();
    append(&mut sidecar, &state(6), &[message(4), message(5)]);
    let whole = scratch.content();
    for end in before.len()..whole.len() {
        scratch.put(&whole[..end]);
        let (state, records) = open(&scratch).unwrap();
        assert_eq!(records.len(), 3, "{end}");
        // Nobody was told of 4 and 5, unless the whole block was there.
        assert!(state.uid_next.unwrap() >= uid(4));
        if end > before.len() {
            assert!(state.uid_next.unwrap() >= uid(5));
        }
        assert_eq!(open(&scratch).unwrap().0.uid_next, state.uid_next, "the skip is written down");
    }
    // Zeros or old octets behind a torn end.
    let mut filled = before.clone();
    filled.resize(before.len() + 8000, 0);
    scratch.put(&filled);
    assert!(open(&scratch).unwrap().0.uid_next.unwrap() > uid(100));
}

#[test]
fn no_damage_gives_a_uid_to_two_messages() {
    let scratch = Scratch::new();
    let mut sidecar = filled(&scratch, 3);
    append(&mut sidecar, &state(5), &[message(4)]);
    append(&mut sidecar, &state(6), &[message(5)]);
    let whole = scratch.content();
    let mut unusable = 0;
    let mut check = |content: &[u8]| {
        scratch.put(content);
        match open(&scratch) {
            Some((state, records)) => {
                assert_eq!(validity(&state), 77);
                assert!(state.uid_next.unwrap() >= uid(6));
                assert!(records.iter().all(|found| *found == record(found.uid.get())));
            }
            None => unusable += 1,
        }
    };
    for at in 0..whole.len() {
        for bit in [1, 0x80] {
            let mut flipped = whole.clone();
            flipped[at] ^= bit;
            check(&flipped);
        }
    }
    assert!(unusable > whole.len());
    let base = whole.len();
    let mut removed = 0;
    for end in 0..base {
        scratch.put(&whole[..end]);
        removed += usize::from(open(&scratch).is_none());
    }
    assert!(removed > 100);
}

#[test]
fn a_session_notices_that_the_file_lost_its_end() {
    let scratch = Scratch::new();
    let mut sidecar = filled(&scratch, 3);
    let before = scratch.content();
    append(&mut sidecar, &state(5), &[message(4)]);
    let mut records = Records::default();
    let (mut other, _) = (scratch.sidecar(), ());
    read(&mut other, &mut records);
    scratch.put(&before);
    assert!(other.has_news());
    assert_eq!(read(&mut other, &mut records), Reading::Unusable);
    assert_eq!(other.new_validity(5).get(), 78);
    assert_eq!(other.new_validity(500).get(), 500);
}

#[test]
fn without_write_access_a_torn_end_is_left_alone() {
    let scratch = Scratch::new();
    drop(filled(&scratch, 3));
    let mut content = scratch.content();
    content.extend_from_slice(b"torn");
    scratch.put(&content);
    let (mut sidecar, mut records) = (scratch.sidecar(), Records::default());
    let lock = sidecar.lock_to_read().unwrap().unwrap();
    assert!(!lock.is_exclusive());
    assert_eq!(sidecar.read(&lock, &mut records).unwrap(), Reading::Anew);
    assert_eq!(records.finish().len(), 3);
    assert_eq!(scratch.content(), content);
}

#[test]
fn what_is_no_plain_file_is_not_opened() {
    let scratch = Scratch::new();
    let elsewhere = scratch.directory.path().join("elsewhere");
    std::fs::write(&elsewhere, "").unwrap();
    std::os::unix::fs::symlink(&elsewhere, scratch.path()).unwrap();
    assert!(scratch.sidecar().lock().is_err());
    std::fs::remove_file(scratch.path()).unwrap();
    std::fs::create_dir(scratch.path()).unwrap();
    assert!(scratch.sidecar().lock().is_err());
    std::fs::remove_dir(scratch.path()).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, scratch.path(), rustix::fs::Mode::RWXU).unwrap();
    assert!(scratch.sidecar().lock().is_err());
    assert!(scratch.sidecar().lock_to_read().is_err());
}

#[test]
fn uids_run_out() {
    let mut state = state(u32::MAX);
    assert_eq!(state.give_uid(), Some(Uid::MAX));
    assert_eq!((state.give_uid(), state.uid_next), (None, None));
    let mut encoded = Vec::new();
    state.encode(&mut encoded);
    assert_eq!(State::decode(&encoded).unwrap().0, state);
}
