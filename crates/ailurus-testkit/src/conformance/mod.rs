//! The conformance suite: one list of checks, run over every format.
//!
//! A check is a function of a [`Format`] that says in its name what must hold. It works through `Driver`, `Mailbox` and
//! `Mailboxes` alone, in a scratch home of its own. `conformance!` makes one `#[test]` of each check and format, so that
//! a failure reads `mix::uids_are_never_reused`. Sessions in processes of their own are the same test program again; it
//! is started by one that has nothing open, for a fork keeps the flocks of all that is open (see `spawner`).
//!
//! # How a format joins
//!
//! By one line in `crates/ailurus-formats/tests/conformance.rs`, once its driver is among
//! `ailurus_formats::drivers`:
//!
//! ```text
//! mix: Format::of("mix");                                          mailboxes are `box`, `other`, …
//! mh: Format { prefix: "#mh/", furnish: write_mh_profile, reference_forgets: true, ..Format::of("mh") };
//! mmdf: Format { delivery: Some(mmdf_delivery), reference: Some("\r\n"), ..Format::of("mmdf") };
//! mbox: Format { only: Some("INBOX"), furnish: empty_mbox, ..Format::of("mbox") };
//! news: Format { only: Some("#news.a.b"), stock: Some(write_articles), ..Format::of("news") };   spool and active in `news`
//! ```
//!
//! It says its driver's name, how its mailboxes are named (`prefix`, or `only` one), what must be in the home first
//! (`furnish`), how mail gets into one that cannot be appended to (`stock`), what a delivery program adds to the file
//! (`delivery`), whether the reference's `mailutil` can use it, with what it adds to messages (`reference`), and whether it
//! keeps flags (`reference_forgets`).
//!
//! `phile` and `dummy` do not join: their mailboxes hold what nobody can have put there.
//!
//! # How formats differ
//!
//! By what [`Abilities`](ailurus_store::Abilities) says, never by name. Some of its words are exemptions: a format that
//! stores dates without their zone says `utc_dates`, and is compared accordingly. A difference without a word gets
//! one there, with a default that demands most.
//!
//! # How a check joins
//!
//! A function in the file of its theme, and its name in the list of `conformance_checks!` below. One that is not in
//! the list is reported by the compiler as never used.
//!
//! With `AILURUS_LONG=1` the checks that try points of a sequence try all of them, not some, and random ones go on for
//! long. Those say on failure which seed it was; `AILURUS_SEED` plays it again.
#![allow(clippy::unwrap_used, reason = "a check that fails panics")]

mod append;
mod content;
mod crash;
mod damage;
mod expunge;
mod flags;
mod home;
mod model;
mod names;
mod outside;
mod peers;
mod process;
mod sessions;
mod spawner;

pub use process::act;

use std::path::Path;

/// What a format has to tell to be checked; see the module.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// The driver's name.
    pub name: &'static str,
    /// What mailbox names begin with.
    pub prefix: &'static str,
    /// The one mailbox that there can be, if there can be but one.
    pub only: Option<&'static str>,
    /// Puts into the home what has to be there before a mailbox can be made.
    pub furnish: fn(home: &Path),
    /// Fills the mailbox with these messages, in CRLF form, where the driver does not take any.
    pub stock: Option<Stock>,
    /// Returns what a delivery program adds to the end of the file under dot-lock or flock, for a message with LF line
    /// ends; `None` where no such program knows the format.
    pub delivery: Option<fn(message: &str) -> Vec<u8>>,
    /// What the reference's `mailutil` adds to the end of a message that it appends; `None` if it cannot use the mailbox.
    pub reference: Option<&'static str>,
    /// The reference keeps neither flags nor keywords: what it appends is \Seen and no more, and it knows nothing of those
    /// that we keep.
    pub reference_forgets: bool,
}

/// See [`Format::stock`].
pub type Stock = fn(home: &Path, messages: &[Vec<u8>]);

impl Format {
    /// Returns a format of which there is nothing special to tell.
    #[must_use]
    pub const fn of(name: &'static str) -> Self {
        Self {
            name,
            prefix: "",
            only: None,
            furnish: |_| {},
            stock: None,
            delivery: None,
            reference: Some(""),
            reference_forgets: false,
        }
    }
}

/// Returns what a delivery program adds to a traditional mailbox.
#[must_use]
pub fn mbox_delivery(message: &str) -> Vec<u8> {
    format!("From ada@example.com Sat Feb  1 12:34:56 2025\n{message}\n").into_bytes()
}

/// The one list of checks.
#[macro_export]
#[doc(hidden)]
macro_rules! conformance_checks {
    ([$($then:tt)+] $input:tt) => {
        $($then)+! { $input
            names {
                a_new_mailbox_is_empty
                what_is_there_is_not_made_again
                what_is_missing_is_not_found
                parents_are_made
                a_mailbox_holds_others_where_it_can
                files_of_a_mailbox_are_no_names
                a_name_that_is_used_again_has_another_validity
                a_rename_keeps_all_but_the_name
                a_mailbox_in_use_is_neither_deleted_nor_renamed
                a_probe_changes_no_times
                an_empty_file_takes_its_first_mail
                a_missing_inbox_is_made_by_its_first_mail
                odd_names_work_or_are_refused
            }
            append {
                octets_come_back_as_they_were_given
                messages_of_any_size_come_back
                internal_dates_come_back
                flags_and_keywords_come_with_a_message
                appended_uids_are_told_and_ascend
                several_messages_arrive_as_one
                a_copy_keeps_all_but_the_uid
                an_append_without_commit_leaves_nothing
                wrong_sizes_are_refused
                reads_in_pieces_agree
            }
            flags {
                every_flag_is_stored_and_stays
                a_change_that_changes_nothing_is_none
                an_edit_that_is_dropped_changes_nothing
                a_store_is_seen_by_other_sessions
                sessions_change_different_flags_of_one_message
                keywords_of_one_session_are_seen_by_others
                a_keyword_too_many_is_refused
                keywords_of_any_letters_stay
                who_only_reads_changes_nothing
                a_silent_session_is_silent
                recent_is_given_to_one_session
            }
            expunge {
                expunged_messages_are_gone_and_others_stay
                expunging_nothing_is_nothing
                one_edit_stores_and_expunges
                an_expunge_beside_another_session_shows_it_no_other_message
                an_emptied_mailbox_keeps_its_state
                uids_stay_over_sessions
                uids_are_never_reused
                a_mailbox_made_anew_has_another_uid_validity
            }
            model {
                sessions_agree_with_a_model
            }
            sessions {
                each_message_of_ten_processes_arrives_once
                a_reader_of_another_process_sees_whole_messages
                processes_at_work_lose_nothing
                a_session_gives_way_to_a_newer_one
                a_killed_session_is_in_nobodys_way
            }
            outside {
                deliveries_under_a_dot_lock_arrive_once
                deliveries_under_flock_arrive_once
            }
            crash {
                an_opening_survives_a_crash
                an_append_survives_a_crash
                an_append_of_several_survives_a_crash
                an_append_beside_a_session_survives_a_crash
                a_store_survives_a_crash
                a_new_keyword_survives_a_crash
                a_checkpoint_survives_a_crash
                an_expunge_survives_a_crash
                an_expunge_of_all_survives_a_crash
                an_expunge_beside_a_session_survives_a_crash
                a_mixture_survives_a_crash
                a_copy_survives_a_crash
                a_creation_survives_a_crash
                a_deletion_survives_a_crash
                a_rename_survives_a_crash
                the_reference_opens_what_a_crash_leaves
            }
            damage {
                a_mailbox_cut_short_keeps_what_can_be_read
                a_mailbox_with_a_flipped_bit_keeps_what_can_be_read
                a_mailbox_with_lost_pages_keeps_what_can_be_read
                a_mailbox_with_foreign_octets_keeps_what_can_be_read
            }
            peers {
                the_reference_and_we_take_turns
            }
        }
    };
}

/// Makes the tests of `tests/conformance.rs`: a module for each format, a test for each check.
#[macro_export]
macro_rules! conformance {
    ($($name:ident: $format:expr;)+) => {
        $(
            mod $name {
                use super::*;
                pub(super) static FORMAT: Format = $format;
                $crate::conformance_checks! { [$crate::conformance_tests] FORMAT }
            }
        )+

        /// No check itself, but the processes that checks start.
        #[test]
        fn acts_for_a_check() {
            $crate::conformance::act(&[$(&$name::FORMAT),+]);
        }
    };
}

#[macro_export]
#[doc(hidden)]
macro_rules! conformance_tests {
    ($format:ident $($theme:ident { $($check:ident)+ })+) => {
        $($(
            #[test]
            fn $check() {
                $crate::conformance::run(&$format, stringify!($check));
            }
        )+)+
    };
}

macro_rules! conformance_table {
    ($format:tt $($theme:ident { $($check:ident)+ })+) => {
        const CHECKS: &[(&str, fn(&'static Format))] = &[$($((stringify!($check), $theme::$check)),+),+];
    };
}
conformance_checks! { [conformance_table] () }

/// Runs a check of the list.
///
/// # Panics
/// When the check fails, or there is none of this name.
pub fn run(format: &'static Format, check: &str) {
    let (_, act) = CHECKS.iter().find(|(name, _)| *name == check).expect("the tests are made of the list");
    spawner::prepare();
    act(format);
}

/// Returns the seeds below `count`, or the one that the environment asks for.
fn seeds(count: u64) -> std::ops::Range<u64> {
    match std::env::var("AILURUS_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => 0..count,
    }
}

/// Does something, and if it panics says what it was.
#[track_caller]
fn telling(what: &str, act: impl FnOnce()) {
    if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act)) {
        eprintln!("this was {what}");
        std::panic::resume_unwind(panic);
    }
}

/// Tells whether to try everything instead of some.
fn long() -> bool {
    std::env::var_os("AILURUS_LONG").is_some_and(|value| value == "1")
}
