//! What drivers have to tell the user beside their results.

use std::sync::{Arc, Mutex, PoisonError};

/// How much a notice matters; the reference's levels of mm_log and mm_notify.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Level {
    /// Something was done (`Expunged 3 messages`): the text of a tagged OK.
    Info,
    /// Something in a message was not understood: `* OK [PARSE]`.
    Parse,
    /// Something is not as it should be, and work goes on: `* NO`.
    Warning,
    /// Something failed beside the result of the call: `* BAD`.
    Error,
    /// For the log alone: something is not as it should be, told with a path or an offset, which the peer does not get.
    Log,
    /// For the log alone, as a matter of course.
    Record,
}

impl Level {
    /// Tells whether only the log gets to know it.
    #[must_use]
    pub fn is_for_log(self) -> bool {
        matches!(self, Self::Log | Self::Record)
    }
}

/// One thing to tell.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notice {
    /// How much it matters.
    pub level: Level,
    /// The reference's own wording where it has one: people search the web for it.
    pub text: String,
}

/// Where the drivers of one session leave their notices until the session takes them; clones share one list.
///
/// The list is bounded: when nobody takes them, later notices are counted and dropped.
#[derive(Clone, Debug, Default)]
pub struct Notices(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    notices: Vec<Notice>,
    dropped: usize,
}

const MOST_KEPT: usize = 200;

impl Notices {
    /// Leaves a notice.
    pub fn tell(&self, level: Level, text: impl Into<String>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.notices.len() < MOST_KEPT {
            kept.notices.push(Notice { level, text: text.into() });
        } else {
            kept.dropped += 1;
        }
    }

    /// Takes all notices in the order in which they were left.
    #[must_use]
    pub fn take(&self) -> Vec<Notice> {
        let mut kept = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if kept.dropped > 0 {
            let text = format!("{} more notices were not kept", kept.dropped);
            kept.notices.push(Notice { level: Level::Log, text });
        }
        kept.notices
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_are_bounded_and_say_so() {
        let notices = Notices::default();
        for n in 0..MOST_KEPT + 5 {
            notices.clone().tell(Level::Warning, format!("{n}"));
        }
        let taken = notices.take();
        assert_eq!(taken.len(), MOST_KEPT + 1);
        assert_eq!(taken[MOST_KEPT].text, "5 more notices were not kept");
        assert!(notices.take().is_empty());
    }
}
