//! Programs that know nothing of us add mail to the file.

use super::Format;
use super::home::{Home, Message, change, expunge, set, show, store, text};
use super::process::{number_of, numbers};
use crate::random::Random;
use ailurus_store::Mailbox;
use ailurus_types::{FlagOp, SystemFlags, UidSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// The number of the first message that others deliver; ours have smaller ones.
const FIRST: usize = 1_000_001;

/// As procmail does by default.
pub(super) fn deliveries_under_a_dot_lock_arrive_once(format: &'static Format) {
    deliver_beside_us(format, |path, octets| {
        let mut lock = path.as_os_str().to_owned();
        lock.push(".lock");
        while File::create_new(&lock).is_err() {
            std::thread::sleep(Duration::from_micros(300));
        }
        File::options().append(true).open(path).unwrap().write_all(octets).unwrap();
        fs::remove_file(&lock).unwrap();
    });
}

/// As a program does that cannot write to the directory.
pub(super) fn deliveries_under_flock_arrive_once(format: &'static Format) {
    deliver_beside_us(format, |path, octets| {
        let mut file = File::options().append(true).open(path).unwrap();
        file.lock().unwrap();
        file.write_all(octets).unwrap();
    });
}

fn deliver_beside_us(format: &'static Format, deliver: fn(&Path, &[u8])) {
    let Some(delivery) = format.delivery else { return };
    let (rounds, count) = if super::long() { (100, 60) } else { (2, 30) };
    for seed in 0..rounds {
        let home = Home::filled(format, 3);
        let path = home.open().path().to_path_buf();
        let mut random = Random::new(seed);
        let pauses: Vec<_> = (0..count).map(|_| random.below(3000) as u64).collect();
        let kept = std::thread::scope(|scope| {
            let deliveries = scope.spawn(move || {
                for (number, pause) in (FIRST..).zip(pauses) {
                    std::thread::sleep(Duration::from_micros(pause));
                    let message = String::from_utf8(text(number)).unwrap().replace("\r\n", "\n");
                    deliver(&path, &delivery(&message));
                }
            });
            let mut kept = vec![1, 2, 3];
            let mut session = None;
            for number in 4.. {
                if deliveries.is_finished() {
                    break;
                }
                act(&home, &mut session, &mut random, number, &mut kept);
            }
            if let Some(mailbox) = session {
                mailbox.close().unwrap();
            }
            kept
        });
        let mut mailbox = home.open();
        let mut found = numbers(&mut *mailbox);
        let delivered: Vec<_> = found.iter().copied().filter(|number| *number >= FIRST).collect();
        assert_eq!(
            delivered,
            (FIRST..FIRST + count).collect::<Vec<_>>(),
            "seed {seed}: they keep their order"
        );
        found.retain(|number| *number < FIRST);
        assert_eq!(found, kept, "seed {seed}: our own");
        mailbox.close().unwrap();
    }
}

/// Does one thing of ours; `kept` are the numbers of the messages of ours that must be there.
fn act(
    home: &Home,
    session: &mut Option<Box<dyn Mailbox>>,
    random: &mut Random,
    number: usize,
    kept: &mut Vec<usize>,
) {
    let mut mailbox = session.take().unwrap_or_else(|| home.open());
    match random.below(8) {
        0 | 1 => {
            home.append(&Message::number(number)).unwrap();
            kept.push(number);
        }
        2 | 3 => {
            let by = change(FlagOp::Add, SystemFlags::SEEN, &[&format!("kw{}", random.below(20))]);
            drop(store(&mut *mailbox, &UidSet::all(), &by).unwrap());
        }
        4 if kept.len() > 1 => {
            let gone = *random.pick(kept);
            let shown = show(&mut *mailbox);
            if let Some(shown) = shown.iter().find(|shown| number_of(&shown.text) == Some(gone)) {
                drop(expunge(&mut *mailbox, &set(&[shown.uid.get()])).unwrap());
                kept.retain(|number| *number != gone);
            }
        }
        5 => return mailbox.close().unwrap(),
        _ => drop(mailbox.refresh().unwrap()),
    }
    *session = Some(mailbox);
}
