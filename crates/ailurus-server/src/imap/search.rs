//! SEARCH and UID SEARCH, with RETURN (RFC 3501 §6.4.4, RFC 4731; spec/imapd.md §10).
//!
//! Messages are asked one after the other, some of them at a time.

use crate::imap::select::Selected;
use crate::imap::session::{Account, Session, State, Step, Task};
use crate::imap::tagged::{Outcome, OutcomeCode};
use crate::imap::wording;
use ailurus_proto::imap::response::{self, Esearch};
use ailurus_proto::imap::{CommandName, Numbering, SearchArgs, SearchReturn, Tag, print};
use ailurus_search::{BadCharset, Candidate, Context};
use ailurus_store::Error;
use ailurus_types::SeqNum;

/// A SEARCH under way.
pub(crate) struct Search {
    name: CommandName,
    search: ailurus_search::Search,
    returns: Option<SearchReturn>,
    /// The number of the message that comes next, and of the last one.
    next: u32,
    last: u32,
    hint: usize,
    /// What was found, ascending.
    found: Vec<u32>,
    /// How much of it was printed; `None` before the response was begun.
    printed: Option<usize>,
}

/// How much is looked at, in octets or what takes as long, before others have their turn.
const SLICE: usize = 512 * 1024;

impl Session {
    pub(crate) fn search(&mut self, tag: Tag, name: CommandName, args: SearchArgs) {
        let State::Selected(account, selected) = &self.state else { return };
        let context = Context {
            exists: selected.view.exists(),
            largest_uid: selected.view.largest_uid(),
            keywords: &selected.mailbox.snapshot().keywords,
            now: now(account),
        };
        match ailurus_search::Search::compile(&args.program, &context) {
            Ok(search) => {
                let search = Search {
                    name,
                    search,
                    returns: args.returns,
                    next: 1,
                    last: context.exists,
                    hint: 0,
                    found: Vec::new(),
                    printed: None,
                };
                self.run(tag, name, Task::Search(Box::new(search)));
            }
            Err(error @ BadCharset(_)) => {
                let code = OutcomeCode::BadCharset(ailurus_search::charsets().collect());
                let outcome = Outcome::no(error.to_string()).with_code(code);
                self.finish(tag, name, outcome);
            }
        }
    }
}

fn now(account: &Account) -> i64 {
    account.mailboxes.environment().clock.now()
}

impl Search {
    /// Tells whether the response was begun and not ended.
    pub(crate) fn is_within_response(&self) -> bool {
        self.printed.is_some()
    }

    pub(crate) fn step(
        &mut self,
        selected: &mut Selected,
        tag: &Tag,
        out: &mut Vec<u8>,
        limit: usize,
    ) -> Step {
        if self.next <= self.last {
            return match self.look(selected) {
                Ok(()) => Step::Yield,
                Err(error) => {
                    let outcome = wording::failure(&error, self.name, &selected.name);
                    Step::Next(Task::Refresh(outcome))
                }
            };
        }
        if self.returns.is_some() {
            self.append_esearch(tag, out);
        } else if !self.append_search(out, limit) {
            return Step::Continue;
        }
        Step::Next(Task::Refresh(Outcome::ok()))
    }

    fn look(&mut self, selected: &mut Selected) -> ailurus_store::Result<()> {
        let mut cost = 0;
        while self.next <= self.last && cost < SLICE {
            let seq = self.next;
            self.next += 1;
            let Some(seq) = SeqNum::new(seq) else { continue };
            let Some(uid) = selected.view.uid(seq) else { continue };
            let Some(info) = selected.message(uid, &mut self.hint) else { continue };
            let candidate = Candidate { seq, info, recent: selected.view.is_recent(uid) };
            match self.search.matches(selected.mailbox.as_mut(), &candidate, &mut cost) {
                Ok(true) => self.found.push(match self.name.numbering() {
                    Numbering::Uid => uid.get(),
                    Numbering::SeqNum => seq.get(),
                }),
                Ok(false) | Err(Error::Expunged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Appends the SEARCH response, or some of it; `true` when it is complete.
    fn append_search(&mut self, out: &mut Vec<u8>, limit: usize) -> bool {
        let from = match self.printed {
            Some(printed) => printed,
            None => {
                out.extend_from_slice(b"* SEARCH");
                0
            }
        };
        for (at, number) in self.found.iter().enumerate().skip(from) {
            if out.len() >= limit {
                self.printed = Some(at);
                return false;
            }
            out.push(b' ');
            print::number(out, (*number).into());
        }
        out.extend_from_slice(b"\r\n");
        true
    }

    fn append_esearch(&self, tag: &Tag, out: &mut Vec<u8>) {
        let returns = self.returns.unwrap_or_default();
        let ranges = if returns.all { ranges(&self.found) } else { Vec::new() };
        let esearch = Esearch {
            numbering: self.name.numbering(),
            min: self.found.first().copied().filter(|_| returns.min),
            max: self.found.last().copied().filter(|_| returns.max),
            all: returns.all.then_some(ranges.as_slice()),
            count: returns.count.then(|| u32::try_from(self.found.len()).unwrap_or(u32::MAX)),
        };
        response::esearch(out, tag, &esearch);
    }
}

/// Returns ascending numbers as ranges.
fn ranges(numbers: &[u32]) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    ranges
}
