//! Parsing what is new in a mailbox, and giving it UIDs.

use super::align::{Aligner, IDENTITY, News};
use super::fields;
use super::keywords::Wanted;
use super::ledger::{Held, Ledger, Told};
use super::mailbox::{MtxMailbox, Spot, Use};
use super::note::Last;
use super::torn;
use super::walk::{Met, Sizes, Walk};
use crate::file_times::FileTimes;
use crate::sidecar::{Event, Record};
use crate::window::Window;
use ailurus_store::{Level, Manner, MessageInfo, PermanentFlags, Result};
use ailurus_types::{Flags, KeywordMask, SystemFlags, Uid, UidSet};
use std::os::unix::fs::MetadataExt;

/// What the sidecar said, and what is to be written to it.
struct Reconciled {
    /// Messages that this session does not know yet.
    aligner: Aligner,
    /// UIDs of the sidecar count.
    keep_uids: bool,
    /// The first message that the sidecar does not know.
    fresh: usize,
    /// The sidecar is to be written anew.
    all: bool,
}

impl MtxMailbox {
    /// Looks at what others did.
    pub(super) fn catch_up(&mut self) -> Result<()> {
        let mut held = self.ledger.hold(&self.file)?;
        self.parse(&mut held)
    }

    /// Parses what is new in the file, and reads the flags of all messages again if others may have changed them.
    pub(super) fn parse(&mut self, held: &mut Held) -> Result<()> {
        if !self.file.is_current() {
            // What is written here now nobody will find.
            return Err(self.file.replaced());
        }
        self.check_proof();
        let times = FileTimes::of(&self.file.metadata()?);
        self.check_size(times.size)?;
        let (known, end) = (self.spots.len(), self.end);
        let updates = self.ledger.note.updates;
        let parsed = self.parse_messages(held, times.size);
        if parsed.is_err() {
            self.snapshot.messages.truncate(known);
            self.spots.truncate(known);
            self.end = end;
            self.proof = None;
            // What the sidecar told is told again the next time.
            self.ledger.forget();
        }
        parsed?;
        self.take_state(held);
        if known > 0 && (self.times.ask_for_sweep(&times) || self.ledger.note.updates != updates) {
            if self.manner == Manner::Session {
                self.file.environment.notices.tell(Level::Info, "[CHECK] Checking for flag updates");
            }
            self.sweep(known)?;
        }
        self.check_proof();
        self.take_mark(held);
        self.times = FileTimes::of(&self.file.metadata()?);
        Ok(())
    }

    fn parse_messages(&mut self, held: &mut Held, mut size: u64) -> Result<()> {
        let known = self.spots.len();
        let mut told = self.reconcile(held)?;
        let before = self.ledger.note.clone();
        let (file, dialect, ledger) = (&self.file, self.dialect, &mut self.ledger);
        let mut walk = Walk::new(file, dialect, self.end, size, Sizes::Wanted);
        let complete = loop {
            if ledger.note.intent.is_some() && walk.at == ledger.note.end {
                let mends = self.use_as != Use::Read;
                let Some(settled) = torn::settle(file, dialect, ledger, held, mends, size)? else {
                    break false;
                };
                if let Some(uids) = settled.void {
                    told.aligner.drop_uids(uids);
                }
                if settled.size != size {
                    size = settled.size;
                    walk = Walk::new(file, dialect, walk.at, size, Sizes::Wanted);
                }
            }
            let Some(met) = walk.step()? else { break true };
            let record = told.aligner.meet(met.key);
            let mask = record
                .map_or(KeywordMask::NONE, |record| ledger.slots.named_in_sidecar(record.flags.keywords));
            let uid = match record.filter(|_| told.keep_uids) {
                Some(record) => record.uid,
                None => {
                    told.fresh = told.fresh.min(self.spots.len());
                    give_uid(ledger, self.snapshot.largest_uid())
                        .ok_or_else(|| file.damaged(met.offset, "no UID is left for this message".into()))?
                }
            };
            let keywords = ledger.slots.named_in_file(met.line.field.keywords).union(mask);
            self.snapshot.messages.push(message(uid, keywords, &met));
            self.spots.push(Spot::new(met.offset, met.line.size, met.key, met.line.len));
        };
        self.end = walk.at;
        self.pending.arrived |= self.spots.len() > known;
        if complete {
            // One that the lines do not lead to is about another file.
            self.ledger.note.intent = None;
            self.note_end();
            let changed = self.ledger.note != before;
            self.write_ledger(held, told, changed)?;
        }
        if self.snapshot.writable { self.write_arrivals(known, held) } else { Ok(()) }
    }

    /// Reads the sidecar, and makes what is known of the messages agree with it.
    fn reconcile(&mut self, held: &Held) -> Result<Reconciled> {
        let known = self.spots.len();
        let mut news = News::new(self.snapshot.largest_uid());
        let mut told = self.ledger.read(&self.file, held, &mut news);
        if told == Told::Anew && known == 0 && self.ledger.is_exhausted() {
            told = Told::Lost;
        }
        let mut aligner = Aligner::new(news.take_records());
        let (mut fresh, lost) = (usize::MAX, told == Told::Lost);
        if lost {
            self.ledger.start_over(&self.file, self.snapshot.largest_uid());
        }
        match told {
            Told::Nothing => {}
            Told::More => self.take_flags(&news),
            Told::Anew => {
                for index in 0..known {
                    let record = aligner.meet(self.spots[index].key);
                    self.agree(index, record, &mut fresh)?;
                }
            }
            // What we know of these is better than what anybody else does.
            Told::Lost => {
                for spot in &self.spots {
                    aligner.meet(spot.key);
                }
            }
        }
        self.pending.uid_validity |=
            known > 0 && self.ledger.state.uid_validity != self.snapshot.uid_validity;
        Ok(Reconciled { aligner, keep_uids: !lost, fresh, all: lost })
    }

    /// Makes a known message agree with what the sidecar says of it.
    fn agree(&mut self, index: usize, record: Option<Record<IDENTITY>>, fresh: &mut usize) -> Result<()> {
        let before = self.snapshot.messages[index];
        let previous = index.checked_sub(1).map(|index| self.snapshot.messages[index].uid());
        let (uid, mask) = match record {
            Some(record) => (record.uid, self.ledger.slots.named_in_sidecar(record.flags.keywords)),
            None => {
                *fresh = (*fresh).min(index);
                let uid = give_uid(&mut self.ledger, previous);
                let at = self.spots[index].offset;
                let none = || self.file.damaged(at, "no UID is left for this message".into());
                (uid.ok_or_else(none)?, before.flags().keywords)
            }
        };
        if uid != before.uid() {
            self.pending.expunged.insert(before.uid());
            self.pending.arrived = true;
            self.snapshot.messages[index].set_uid(uid);
        }
        self.set_sidecar_keywords(index, mask);
        Ok(())
    }

    fn take_flags(&mut self, news: &News) {
        for (uid, mask) in &news.flags {
            if let Some(index) = self.snapshot.position(*uid, 0) {
                let mask = self.ledger.slots.named_in_sidecar(*mask);
                self.set_sidecar_keywords(index, mask);
            }
        }
    }

    /// Sets those keywords of a message that the sidecar holds.
    fn set_sidecar_keywords(&mut self, index: usize, mask: KeywordMask) {
        let message = &mut self.snapshot.messages[index];
        let before = message.flags();
        let keywords = self.ledger.slots.in_file(before.keywords).union(mask);
        if keywords != before.keywords {
            message.set_flags(Flags { keywords, ..before });
            self.pending.flags.insert(message.uid());
        }
    }

    /// Notes up to where all messages have UIDs.
    pub(super) fn note_end(&mut self) {
        self.ledger.note.end = self.end;
        self.ledger.note.last = self.spots.last().map(|spot| Last { offset: spot.offset, key: spot.key });
    }

    /// Writes to the sidecar what it does not know. Where that fails, UIDs last as long as the session; nothing is
    /// appended without it.
    fn write_ledger(&mut self, held: &mut Held, told: Reconciled, changed: bool) -> Result<()> {
        let gone = told.aligner.finish();
        let written = if told.all {
            self.replace_ledger(held)
        } else if told.fresh < self.spots.len() || !gone.is_empty() {
            self.append_to_ledger(held, &gone, told.fresh)
        } else {
            if changed {
                self.ledger.append_lazily(&self.file, held);
            }
            Ok(())
        };
        match written {
            Err(error) if self.use_as == Use::Append => return Err(error),
            Err(error) => self.ledger.give_up(&self.file, &error),
            Ok(()) => self.shorten_ledger(held),
        }
        Ok(())
    }

    /// Writes to the sidecar which messages have gone, and which are new from an index on.
    pub(super) fn append_to_ledger(&mut self, held: &Held, gone: &UidSet, fresh: usize) -> Result<()> {
        let (slots, snapshot, spots) = (self.ledger.slots.clone(), &self.snapshot, &self.spots);
        let fresh = (fresh.min(spots.len())..spots.len()).map(|index| {
            let message = &snapshot.messages[index];
            let keywords = slots.to_sidecar(message.flags().keywords, Wanted::All);
            record_event(message.uid(), keywords, spots[index].key)
        });
        self.ledger.append(&self.file, held, gone_events(gone).chain(fresh))
    }

    /// Writes the sidecar anew if what changed has outgrown it. If that fails the old one is as good.
    pub(super) fn shorten_ledger(&mut self, held: &mut Held) {
        if self.ledger.is_long() && self.ledger.can_write(held) {
            self.replace_ledger(held).ok();
        }
    }

    /// Writes the sidecar anew.
    pub(super) fn replace_ledger(&mut self, held: &mut Held) -> Result<()> {
        let (slots, snapshot, spots) = (self.ledger.slots.clone(), &self.snapshot, &self.spots);
        let records = snapshot.messages.iter().zip(spots).map(|(message, spot)| {
            let keywords = slots.to_sidecar(message.flags().keywords, Wanted::All);
            let flags = Flags { system: SystemFlags::NONE, keywords };
            Record { uid: message.uid(), flags, identity: spot.key.to_le_bytes() }
        });
        self.ledger.replace(&self.file, held, records)
    }

    /// Writes who has been told of new messages.
    pub(super) fn write_arrivals(&mut self, known: usize, held: &Held) -> Result<()> {
        if self.snapshot.messages.len() == known {
            return Ok(());
        }
        self.prepare_to_change(held);
        let messages = &self.snapshot.messages;
        let recent = (known..messages.len()).filter(|index| messages[*index].is_recent());
        let mut recent = recent.map(|index| (self.place(index), messages[index].flags())).peekable();
        if recent.peek().is_some() {
            fields::write(&self.file, self.dialect, &self.ledger.slots, recent)?;
            self.file.sync()?;
        }
        self.proof = self.file.touch_signed(0, self.file.metadata()?.mtime(), self.proof.take());
        Ok(())
    }

    /// Takes over what the ledger says of the mailbox.
    pub(super) fn take_state(&mut self, held: &Held) {
        self.pending.keywords |= self.snapshot.keywords != self.ledger.slots.names;
        self.take_keywords(held);
        let (ledger, snapshot) = (&self.ledger, &mut self.snapshot);
        snapshot.uid_validity = ledger.state.uid_validity;
        snapshot.uid_next = ledger.state.uid_next;
        snapshot.sticky_uids = ledger.can_write(held);
    }

    /// Takes over which keywords there are, and whether there can be more.
    pub(super) fn take_keywords(&mut self, held: &Held) {
        let (slots, snapshot) = (&self.ledger.slots, &mut self.snapshot);
        if snapshot.keywords != slots.names {
            snapshot.keywords = slots.names.clone();
        }
        if snapshot.writable {
            let new_keywords = self.ledger.can_write(held) && slots.has_room();
            snapshot.permanent = PermanentFlags { system: SystemFlags::ALL, keywords: true, new_keywords };
        }
    }

    /// Reads the flags of the first messages again.
    fn sweep(&mut self, known: usize) -> Result<()> {
        let mut window = Window::new(&self.file.file, 0);
        for index in 0..known {
            let field = fields::read(&self.file, self.dialect, &mut window, self.place(index))?;
            let slots = &self.ledger.slots;
            let message = &mut self.snapshot.messages[index];
            let kept = message.flags().keywords;
            let kept = kept.without(slots.in_file(kept));
            let keywords = slots.named_in_file(field.keywords).union(kept);
            let flags = Flags { system: field.system, keywords };
            if message.flags() != flags {
                message.set_flags(flags);
                self.pending.flags.insert(message.uid());
            }
        }
        Ok(())
    }
}

/// Gives the next UID, which is larger than the one before in any case.
pub(super) fn give_uid(ledger: &mut Ledger, previous: Option<Uid>) -> Option<Uid> {
    let state = &mut ledger.state;
    if state.uid_next.is_some() && state.uid_next <= previous {
        state.uid_next = previous.and_then(Uid::next);
    }
    state.give_uid()
}

/// Returns what is known of a message with this UID and these keywords.
pub(super) fn message(uid: Uid, keywords: KeywordMask, met: &Met) -> MessageInfo {
    let field = met.line.field;
    let flags = Flags { system: field.system, keywords };
    let mut message = MessageInfo::new(uid, flags, met.line.date, met.rfc822_size);
    message.set_recent(!field.old);
    message
}

/// Tells a sidecar of a message.
pub(super) fn record_event(uid: Uid, keywords: KeywordMask, key: u64) -> Event<IDENTITY> {
    let flags = Flags { system: SystemFlags::NONE, keywords };
    Event::Message { uid, flags, identity: key.to_le_bytes() }
}

/// Tells a sidecar that a message has other keywords.
pub(super) fn flags_event(uid: Uid, keywords: KeywordMask) -> Event<IDENTITY> {
    Event::Flags { uid, flags: Flags { system: SystemFlags::NONE, keywords } }
}

/// Tells a sidecar which messages are there no more.
pub(super) fn gone_events(gone: &UidSet) -> impl Iterator<Item = Event<IDENTITY>> {
    uids_in(gone).map(|uid| Event::Gone { uid })
}

/// Returns the UIDs of a set that names messages one by one.
pub(super) fn uids_in(set: &UidSet) -> impl Iterator<Item = Uid> {
    set.ranges().iter().flat_map(|(first, last)| *first..=*last).filter_map(Uid::new)
}
