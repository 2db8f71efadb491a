//! What a sidecar says.

use crate::flag_bits::{bits_of, flags_of};
use ailurus_types::{Flags, Keyword, KeywordMask, Keywords, Uid, UidValidity};

/// What is true of the mailbox as a whole.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct State {
    /// The UID validity value.
    pub(crate) uid_validity: UidValidity,
    /// The next UID to be given; `None` when they are used up.
    pub(crate) uid_next: Option<Uid>,
    /// Messages up to this UID have been told to a session: they are not \Recent any more. 0: none.
    pub(crate) told: u32,
    /// The keywords by slot.
    pub(crate) keywords: Keywords,
    /// What else the format wants to know the next time; at most [`State::MOST_NOTE`] octets.
    pub(crate) note: Vec<u8>,
}

impl State {
    /// The largest note in octets.
    pub(crate) const MOST_NOTE: usize = 255;

    /// Returns the state of a mailbox in which no UID was given yet.
    pub(crate) fn new(uid_validity: UidValidity) -> Self {
        let keywords = Keywords::default();
        Self { uid_validity, uid_next: Some(Uid::MIN), told: 0, keywords, note: Vec::new() }
    }

    /// Gives the next UID; `None` when they are used up.
    pub(crate) fn give_uid(&mut self) -> Option<Uid> {
        let uid = self.uid_next?;
        self.uid_next = uid.next();
        Some(uid)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.uid_validity.get().to_le_bytes());
        out.extend_from_slice(&raw(self.uid_next).to_le_bytes());
        out.extend_from_slice(&self.told.to_le_bytes());
        put_short(&self.note, out);
        out.push(u8::try_from(self.keywords.len()).unwrap_or(u8::MAX));
        for slot in 0..self.keywords.len() {
            put_short(self.keywords.get(slot).map_or(b"", |keyword| keyword.as_str().as_bytes()), out);
        }
    }

    /// Returns the state at the start of a payload, and the rest.
    pub(super) fn decode(mut octets: &[u8]) -> Option<(Self, &[u8])> {
        let octets = &mut octets;
        let uid_validity = UidValidity::new(take_u32(octets)?)?;
        let next = take_u32(octets)?;
        let uid_next = if next == 0 { None } else { Uid::new(next) };
        let told = take_u32(octets)?;
        let note = take_short(octets)?.to_vec();
        let mut keywords = Keywords::default();
        for _ in 0..take_u8(octets)? {
            keywords.push(Keyword::from_disk(take_short(octets)?), Keywords::MAX).ok()?;
        }
        Some((Self { uid_validity, uid_next, told, keywords, note }, octets))
    }
}

/// What happened to a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Event<const N: usize> {
    /// A message with its UID, which is the largest so far; or a known one that has another identity now.
    Message { uid: Uid, flags: Flags, identity: [u8; N] },
    /// A message has other flags now.
    Flags { uid: Uid, flags: Flags },
    /// A message is there no more.
    Gone { uid: Uid },
}

/// One message as a sidecar knows it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Record<const N: usize> {
    pub(crate) uid: Uid,
    pub(crate) flags: Flags,
    pub(crate) identity: [u8; N],
}

/// Who is told what a sidecar says.
pub(crate) trait Reader<const N: usize> {
    /// All that was told before is void: what follows is told from the start.
    fn start(&mut self);

    /// Takes what happened next.
    fn event(&mut self, event: Event<N>);
}

/// The messages of a sidecar in ascending order of UID, for formats that keep no list of their own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Records<const N: usize> {
    list: Vec<Record<N>>,
    gone: Vec<Uid>,
}

impl<const N: usize> Records<N> {
    /// Returns the messages that are there now.
    pub(crate) fn finish(&mut self) -> &mut Vec<Record<N>> {
        self.gone.sort_unstable();
        let gone = std::mem::take(&mut self.gone);
        if !gone.is_empty() {
            self.list.retain(|record| gone.binary_search(&record.uid).is_err());
        }
        &mut self.list
    }
}

impl<const N: usize> Reader<N> for Records<N> {
    fn start(&mut self) {
        self.list.clear();
        self.gone.clear();
    }

    fn event(&mut self, event: Event<N>) {
        let position =
            |list: &[Record<N>], uid| list.binary_search_by_key(&uid, |record: &Record<N>| record.uid);
        match event {
            Event::Message { uid, flags, identity } => {
                let record = Record { uid, flags, identity };
                match position(&self.list, uid) {
                    Ok(known) => self.list[known] = record,
                    // Any other place would be that of a UID that was given before.
                    Err(place) if place == self.list.len() => self.list.push(record),
                    Err(_) => {}
                }
            }
            Event::Flags { uid, flags } => {
                if let Ok(known) = position(&self.list, uid) {
                    self.list[known].flags = flags;
                }
            }
            Event::Gone { uid } => self.gone.push(uid),
        }
    }
}

const MESSAGE: u8 = 1;
const FLAGS: u8 = 2;
const GONE: u8 = 3;

impl<const N: usize> Event<N> {
    /// The fewest octets that can give a UID.
    pub(super) const LEAST_MESSAGE: usize = 1 + 4 + 2 + 8 + N;

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let (kind, uid, flags, identity) = match self {
            Self::Message { uid, flags, identity } => (MESSAGE, uid, Some(flags), &identity[..]),
            Self::Flags { uid, flags } => (FLAGS, uid, Some(flags), &[][..]),
            Self::Gone { uid } => (GONE, uid, None, &[][..]),
        };
        out.push(kind);
        out.extend_from_slice(&uid.get().to_le_bytes());
        if let Some(flags) = flags {
            out.extend_from_slice(&bits_of(flags.system).to_le_bytes());
            out.extend_from_slice(&flags.keywords.0.to_le_bytes());
        }
        out.extend_from_slice(identity);
    }

    /// Takes an event off the front.
    pub(super) fn decode(octets: &mut &[u8]) -> Option<Self> {
        let kind = take_u8(octets)?;
        let uid = Uid::new(take_u32(octets)?)?;
        if kind == GONE {
            return Some(Self::Gone { uid });
        }
        let system = flags_of(u16::from_le_bytes(*take(octets)?));
        let flags = Flags { system, keywords: KeywordMask(u64::from_le_bytes(*take(octets)?)) };
        match kind {
            MESSAGE => Some(Self::Message { uid, flags, identity: *take(octets)? }),
            FLAGS => Some(Self::Flags { uid, flags }),
            _ => None,
        }
    }
}

/// A UID or none as a number.
pub(super) fn raw(uid: Option<Uid>) -> u32 {
    uid.map_or(0, Uid::get)
}

fn put_short(octets: &[u8], out: &mut Vec<u8>) {
    let octets = &octets[..octets.len().min(State::MOST_NOTE)];
    out.push(u8::try_from(octets.len()).expect("cut just now"));
    out.extend_from_slice(octets);
}

fn take<'a, const K: usize>(octets: &mut &'a [u8]) -> Option<&'a [u8; K]> {
    let (taken, rest) = octets.split_first_chunk()?;
    *octets = rest;
    Some(taken)
}

fn take_u8(octets: &mut &[u8]) -> Option<u8> {
    take::<1>(octets).map(|octet| octet[0])
}

fn take_u32(octets: &mut &[u8]) -> Option<u32> {
    take(octets).map(|octets| u32::from_le_bytes(*octets))
}

fn take_short<'a>(octets: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::from(take_u8(octets)?);
    let (taken, rest) = octets.split_at_checked(length)?;
    *octets = rest;
    Some(taken)
}
