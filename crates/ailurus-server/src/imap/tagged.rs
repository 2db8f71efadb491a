//! How a tagged response is put together from the outcome of a command and what was noted on the way
//! (spec/imapd.md §5).

use crate::imap::session::Session;
use ailurus_proto::imap::response::{self, Code, Status};
use ailurus_proto::imap::{CommandName, Tag};
use ailurus_store::{Level, Notice};
use ailurus_types::{UidSet, UidValidity};

/// What came of a command.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: Status,
    pub(crate) code: Option<OutcomeCode>,
    /// The text; `None` for what was noted on the way, or `X completed`.
    pub(crate) text: Option<String>,
}

/// A response code of an outcome.
#[derive(Debug)]
pub(crate) enum OutcomeCode {
    Plain(Code<'static>),
    /// TRYCREATE, for this command: `append` or `copy`.
    TryCreate(&'static str),
    AppendUid(UidValidity, UidSet),
    CopyUid(UidValidity, UidSet, UidSet),
    BadCharset(Vec<&'static str>),
    Referral(Vec<String>),
}

impl Outcome {
    pub(crate) fn ok() -> Self {
        Self { status: Status::Ok, code: None, text: None }
    }

    pub(crate) fn no(text: impl Into<String>) -> Self {
        Self { status: Status::No, code: None, text: Some(text.into()) }
    }

    pub(crate) fn bad(text: impl ToString) -> Self {
        Self { status: Status::Bad, code: None, text: Some(text.to_string()) }
    }

    pub(crate) fn with(mut self, code: Code<'static>) -> Self {
        self.code = Some(OutcomeCode::Plain(code));
        self
    }

    pub(crate) fn with_code(mut self, code: OutcomeCode) -> Self {
        self.code = Some(code);
        self
    }

    pub(crate) fn with_text(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }
}

impl Default for Outcome {
    fn default() -> Self {
        Self::ok()
    }
}

/// What was noted during a command, the last of each kind; earlier ones were sent when the next came.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    info: Option<String>,
    warning: Option<String>,
}

impl Notes {
    /// Notes something to be the text of the response.
    pub(crate) fn inform(&mut self, text: impl Into<String>, out: &mut Vec<u8>) {
        if let Some(before) = self.info.replace(text.into()) {
            response::untagged(out, Status::Ok, None, before);
        }
    }

    /// Notes a warning.
    pub(crate) fn warn(&mut self, text: impl Into<String>, out: &mut Vec<u8>) {
        if let Some(before) = self.warning.replace(text.into()) {
            response::untagged(out, Status::No, None, before);
        }
    }

    /// Takes a notice of a driver.
    pub(crate) fn take(&mut self, notice: Notice, out: &mut Vec<u8>) {
        match notice.level {
            Level::Info => self.inform(notice.text, out),
            Level::Parse => response::untagged(out, Status::Ok, Some(Code::Parse), notice.text),
            // The reference never tells this one.
            Level::Warning if notice.text == "Mailbox is empty" => {}
            Level::Warning => self.warn(notice.text, out),
            Level::Error => response::untagged(out, Status::Bad, None, notice.text),
            Level::Log | Level::Record => {}
        }
    }

    /// Sends a warning that waits.
    pub(crate) fn flush_warning(&mut self, out: &mut Vec<u8>) {
        if let Some(warning) = self.warning.take() {
            response::untagged(out, Status::No, None, warning);
        }
    }

    /// Sends all that waits.
    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) {
        self.flush_warning(out);
        if let Some(info) = self.info.take() {
            response::untagged(out, Status::Ok, None, info);
        }
    }
}

impl Session {
    /// Appends the tagged response.
    pub(crate) fn answer(&mut self, tag: &Tag, name: CommandName, outcome: Outcome) {
        self.take_notices();
        let Outcome { status, code, text } = outcome;
        let out = &mut self.output;
        let text = if status == Status::Ok {
            // What these say is theirs to say, whatever the store has to tell of how it was done.
            let has_own_text = matches!(
                name,
                CommandName::Select
                    | CommandName::Examine
                    | CommandName::Bboard
                    | CommandName::Expunge
                    | CommandName::UidExpunge
                    | CommandName::Move
                    | CommandName::UidMove
            );
            if has_own_text && text.is_some() {
                self.notes.flush_warning(out);
                self.notes.info = None;
            }
            let own = self.notes.info.take().or(text);
            if own.is_some() {
                self.notes.flush_warning(out);
            }
            own.or_else(|| self.notes.warning.take())
        } else {
            self.notes.flush(out);
            text
        };
        let completed = if status == Status::Ok { "completed" } else { "failed" };
        let text = text.unwrap_or_else(|| format!("{name} {completed}"));
        match code {
            None => response::tagged(out, tag, status, None, text),
            Some(OutcomeCode::Plain(code)) => response::tagged(out, tag, status, Some(code), text),
            Some(OutcomeCode::TryCreate(before)) => {
                let hint = format!("Must create mailbox before {before}");
                response::untagged(out, Status::Ok, Some(Code::TryCreate), hint);
                let text = format!("{name} failed: {text}");
                response::tagged(out, tag, status, Some(Code::TryCreate), text);
            }
            Some(OutcomeCode::AppendUid(validity, uids)) => {
                response::tagged(out, tag, status, Some(Code::AppendUid(validity, &uids)), text);
            }
            Some(OutcomeCode::CopyUid(validity, from, to)) => {
                response::tagged(out, tag, status, Some(Code::CopyUid(validity, &from, &to)), text);
            }
            Some(OutcomeCode::Referral(urls)) => {
                let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
                response::tagged(out, tag, status, Some(Code::Referral(&urls)), text);
            }
            Some(OutcomeCode::BadCharset(known)) => {
                response::tagged(out, tag, status, Some(Code::BadCharset(&known)), text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_note_of_a_kind_waits() {
        let (mut notes, mut out) = (Notes::default(), Vec::new());
        notes.warn("one", &mut out);
        notes.inform("two", &mut out);
        notes.warn("three", &mut out);
        notes.take(Notice { level: Level::Warning, text: "Mailbox is empty".into() }, &mut out);
        assert_eq!(out, b"* NO one\r\n");
        notes.flush(&mut out);
        assert_eq!(out, b"* NO one\r\n* NO three\r\n* OK two\r\n");
    }
}
