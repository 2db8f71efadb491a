//! IDLE (RFC 2177; spec/imapd.md §13).
//!
//! The reference looks for news once a minute; we do as soon as the mailbox's file changes as well. Its other habits are kept:
//! every second minute `* OK Timeout in N minutes`, which keeps address translators between us and the client awake; new
//! mail made up at 29 minutes, which moves clients to leave IDLE before the session ends at 31.

use crate::imap::announce::Style;
use crate::imap::session::{Session, State, Work};
use crate::imap::tagged::Outcome;
use ailurus_proto::imap::response::{self, Status};
use ailurus_proto::imap::{CommandName, MAX_IDLE_LINE, Tag};
use ailurus_types::SeqNum;
use std::time::Instant;

/// A session in IDLE.
pub(crate) struct Idle {
    tag: Tag,
    /// Rounds of a minute that have passed.
    round: u32,
    next: Instant,
    /// New mail was made up: what was told as EXISTS and RECENT before.
    faked: Option<(u32, u32)>,
    /// Changes are being told.
    announcing: bool,
}

/// After so many rounds the session ends.
const ROUNDS: u32 = 31;
/// After so many rounds new mail is made up.
const NUDGE: u32 = 29;

impl Idle {
    pub(crate) fn next_round(&self) -> Instant {
        self.next
    }

    pub(crate) fn is_announcing(&self) -> bool {
        self.announcing
    }

    pub(crate) fn has_faked(&self) -> bool {
        self.faked.is_some()
    }
}

impl Session {
    pub(crate) fn idle(&mut self, tag: Tag) {
        response::continuation(&mut self.output, "Waiting for DONE");
        self.splitter.expect_raw(MAX_IDLE_LINE);
        let next = self.now + self.timers.idle_round;
        self.work = Work::Idle(Box::new(Idle { tag, round: 0, next, faked: None, announcing: false }));
        self.look_while_idle();
    }

    /// Ends IDLE, by DONE or by anything else.
    pub(crate) fn end_idle(&mut self, done: bool) {
        let Work::Idle(idle) = std::mem::replace(&mut self.work, Work::Command) else { return };
        if let Some((exists, recent)) = idle.faked {
            if let Some(fake) = exists.checked_add(1).and_then(SeqNum::new) {
                response::expunge(&mut self.output, fake);
            }
            response::exists(&mut self.output, exists);
            response::recent(&mut self.output, recent);
        }
        let outcome = if done { Outcome::ok() } else { Outcome::bad("Bogus IDLE continuation") };
        self.finish(idle.tag, CommandName::Idle, outcome);
    }

    /// Does what is due once a minute.
    pub(crate) fn idle_round(&mut self) {
        let every = self.timers.idle_round;
        let Work::Idle(idle) = &mut self.work else { return };
        idle.round += 1;
        idle.next += every;
        let (round, faked) = (idle.round, idle.faked);
        if round >= ROUNDS {
            return self.autologout();
        }
        if faked.is_none() {
            self.checkpoint_while_idle();
            self.look_while_idle();
        }
        if matches!(self.work, Work::Closed) {
            return;
        }
        self.notes.flush_warning(&mut self.output);
        if !round.is_multiple_of(2) {
            let left = ROUNDS - round;
            self.untagged(Status::Ok, None, format_args!("Timeout in {left} minutes"));
        }
        if round >= NUDGE {
            self.make_up_mail();
        }
    }

    /// Tells of a message that is not there.
    fn make_up_mail(&mut self) {
        if matches!(&self.work, Work::Idle(idle) if !idle.has_faked()) {
            self.announce_while_idle();
        }
        let (Work::Idle(idle), State::Selected(_, selected)) = (&mut self.work, &self.state) else { return };
        if idle.announcing {
            // The client does not take what it is told, and the numbers that it knows are not ours yet.
            return;
        }
        let (exists, recent) = *idle.faked.get_or_insert((selected.view.exists(), selected.view.recent()));
        response::exists(&mut self.output, exists.saturating_add(1));
        response::recent(&mut self.output, recent.saturating_add(1));
    }

    fn checkpoint_while_idle(&mut self) {
        let State::Selected(_, selected) = &self.state else { return };
        if self.now - selected.last_checkpoint >= self.timers.idle_checkpoint {
            self.checkpoint();
        }
    }

    /// Looks what changed in the mailbox, which is then told.
    pub(crate) fn look_while_idle(&mut self) {
        if !matches!(&self.work, Work::Idle(idle) if idle.faked.is_none()) {
            return;
        }
        if self.refresh(CommandName::Idle).is_ok()
            && let Work::Idle(idle) = &mut self.work
        {
            idle.announcing = matches!(self.state, State::Selected(..));
            self.notes.flush_warning(&mut self.output);
        }
    }

    /// Tells some of what changed.
    pub(crate) fn announce_while_idle(&mut self) {
        let (Work::Idle(idle), State::Selected(_, selected)) = (&mut self.work, &mut self.state) else {
            return;
        };
        let limit = self.limits.output;
        idle.announcing = !selected.announce(Style::of(CommandName::Idle), &mut self.output, limit);
    }

    /// Takes what the drivers left to tell, without what is only the text of a response that nobody asked for.
    pub(crate) fn drop_info_notices(&mut self) {
        let (State::Authenticated(account) | State::Selected(account, _)) = &self.state else { return };
        let notices = &account.mailboxes.environment().notices;
        let kept = notices.take().into_iter().filter(|notice| notice.level != ailurus_store::Level::Info);
        for notice in kept.collect::<Vec<_>>() {
            notices.tell(notice.level, notice.text);
        }
        self.take_notices();
    }
}
