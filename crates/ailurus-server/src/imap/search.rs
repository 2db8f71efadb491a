//! SEARCH and UID SEARCH, with RETURN (RFC 3501 §6.4.4, RFC 4731, RFC 5182; spec/imapd.md §10); the work of SORT and THREAD.
//!
//! Messages are asked one after the other, some of them at a time. Of one that is found its number is kept, or what SORT
//! and THREAD go by, out of the header that was read for the keys; then the result is put in order at once, and sent as the
//! client takes it.

use crate::imap::dates::Dates;
use crate::imap::found::{Found, Sending, append_empty};
use crate::imap::select::Selected;
use crate::imap::session::{Account, Session, State, Step, Task};
use crate::imap::tagged::{Outcome, OutcomeCode};
use crate::imap::wording;
use ailurus_proto::imap::{CommandName, Numbering, SearchArgs, SearchReturn, Tag};
use ailurus_search::{BadCharset, Candidate, Context, Sorter, Threader};
use ailurus_store::Error;
use ailurus_types::{SearchProgram, SeqNum, Uid, UidSet};

/// A SEARCH, SORT or THREAD under way.
pub(crate) struct Search {
    name: CommandName,
    search: ailurus_search::Search,
    returns: Option<SearchReturn>,
    /// The number of the message that comes next, and of the last one.
    next: u32,
    last: u32,
    hint: usize,
    /// What was found.
    order: Order,
    dates: Dates,
    sending: Option<Sending>,
}

/// In which order what is found is told.
pub(crate) enum Order {
    /// Ascending numbers.
    Mailbox(Vec<u32>),
    Sort(Box<Sorter>),
    Thread(Box<Threader>),
}

impl Order {
    /// Tells whether the sent date is all that is wanted of a header.
    fn wants_dates(&self) -> bool {
        matches!(self, Self::Sort(sorter) if sorter.wants_header() && sorter.wants_only_dates())
    }
}

/// How much is looked at, in octets or what takes as long, before others have their turn.
const SLICE: usize = 512 * 1024;

impl Session {
    pub(crate) fn search(&mut self, tag: Tag, name: CommandName, args: &SearchArgs) {
        self.look_up(tag, name, &args.program, args.returns, Order::Mailbox(Vec::new()));
    }

    pub(crate) fn look_up(
        &mut self,
        tag: Tag,
        name: CommandName,
        program: &SearchProgram,
        returns: Option<SearchReturn>,
        order: Order,
    ) {
        let State::Selected(account, selected) = &mut self.state else { return };
        let context = Context {
            exists: selected.view.exists(),
            largest_uid: selected.view.largest_uid(),
            keywords: &selected.mailbox.snapshot().keywords,
            saved: &selected.saved,
            now: now(account),
        };
        match ailurus_search::Search::compile(program, &context) {
            Ok(search) => {
                let last = context.exists;
                let search = Search {
                    name,
                    search,
                    returns,
                    next: 1,
                    last,
                    hint: 0,
                    order,
                    dates: Dates::default(),
                    sending: None,
                };
                self.run(tag, name, Task::Search(Box::new(search)));
            }
            Err(error @ BadCharset(_)) => {
                if returns.is_some_and(|returns| returns.save) {
                    // RFC 5182 §2.1: who is refused has nothing saved.
                    selected.saved = UidSet::new();
                }
                append_empty(name, returns, &mut self.output);
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
        self.sending.as_ref().is_some_and(Sending::is_begun)
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
                    if self.saves() {
                        selected.saved = UidSet::new();
                    }
                    let outcome = wording::failure(&error, self.name, &selected.name);
                    Step::Next(Task::Refresh(outcome))
                }
            };
        }
        let Some(sending) = &mut self.sending else {
            let found = self.put_in_order(selected);
            self.sending = Some(Sending::new(found));
            return Step::Yield;
        };
        if sending.append(tag, out, limit) {
            Step::Next(Task::Refresh(Outcome::ok()))
        } else {
            Step::Continue
        }
    }

    fn look(&mut self, selected: &mut Selected) -> ailurus_store::Result<()> {
        let mut cost = 0;
        let wants_dates = self.order.wants_dates();
        while self.next <= self.last && cost < SLICE {
            let seq = self.next;
            if wants_dates {
                self.dates.turn_to(seq, self.last, selected);
            }
            self.next += 1;
            let Some(seq) = SeqNum::new(seq) else { continue };
            let Some(uid) = selected.view.uid(seq) else { continue };
            let Some(info) = selected.message(uid, &mut self.hint) else { continue };
            let candidate = Candidate { seq, info, recent: selected.view.is_recent(uid) };
            match self.ask(selected, &candidate, &mut cost) {
                Ok(()) | Err(Error::Expunged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        if self.next > self.last {
            self.dates.write(selected);
        }
        Ok(())
    }

    /// Takes a message into the result, if it matches.
    fn ask(
        &mut self,
        selected: &mut Selected,
        candidate: &Candidate,
        cost: &mut usize,
    ) -> ailurus_store::Result<()> {
        let mailbox = selected.mailbox.as_mut();
        if !self.search.matches(mailbox, candidate, cost)? {
            return Ok(());
        }
        let (uid, info) = (candidate.info.uid(), &candidate.info);
        let number = match self.name.numbering() {
            Numbering::Uid => uid.get(),
            Numbering::SeqNum => candidate.seq.get(),
        };
        match &mut self.order {
            Order::Mailbox(found) => found.push(number),
            Order::Sort(sorter) if !sorter.wants_header() => sorter.add(number, info, b""),
            Order::Sort(sorter) if sorter.wants_only_dates() => {
                let noted = self.dates.noted(candidate.seq);
                let sent = match noted {
                    Some(sent) => sent,
                    None => {
                        let sent = ailurus_search::sent_date(self.search.header(mailbox, uid, cost)?);
                        self.dates.learn(info, sent);
                        sent
                    }
                };
                sorter.add_dated(number, info, sent);
            }
            Order::Sort(sorter) => sorter.add(number, info, self.search.header(mailbox, uid, cost)?),
            Order::Thread(threader) => threader.add(number, info, self.search.header(mailbox, uid, cost)?),
        }
        Ok(())
    }

    fn saves(&self) -> bool {
        self.returns.is_some_and(|returns| returns.save)
    }

    fn put_in_order(&mut self, selected: &mut Selected) -> Found {
        let numbers = match std::mem::replace(&mut self.order, Order::Mailbox(Vec::new())) {
            Order::Mailbox(numbers) => numbers,
            Order::Sort(sorter) => sorter.finish(),
            Order::Thread(threader) => return Found::Threads(Box::new(threader.finish())),
        };
        if self.saves() {
            selected.saved = self.saved(&numbers, selected);
        }
        Found::new(self.name, self.returns, numbers)
    }

    /// Returns what is saved: all that was found, or the first and last message if no more was asked for (RFC 5182 §2.4).
    fn saved(&self, numbers: &[u32], selected: &Selected) -> UidSet {
        let returns = self.returns.unwrap_or_default();
        let ends = (returns.min || returns.max) && !returns.all && !returns.count;
        let first = numbers.first().filter(|_| returns.min);
        let last = numbers.last().filter(|_| returns.max);
        let uid = |number: &u32| match self.name.numbering() {
            Numbering::Uid => Uid::new(*number),
            Numbering::SeqNum => selected.view.uid(SeqNum::new(*number)?),
        };
        if ends {
            return first.into_iter().chain(last).filter_map(uid).collect();
        }
        numbers.iter().filter_map(uid).collect()
    }
}
