//! SEARCH, SORT and THREAD over any mailbox (RFC 3501 §6.4.4, RFC 5256; spec/imapd.md §10 to §12).
//!
//! [`Search::compile`] turns a program into something that [`Search::matches`] can ask of one message after the other. For
//! each message the cheap keys are asked first: what the store's snapshot knows, then the header, then all of it; what is
//! asked last is not read when the answer is known before. The header and the text are read once for all keys.
//!
//! Text is compared under i;unicode-casemap, as UTF-8: `cafe` is found in `Café`, whatever charset and transfer encoding
//! the message has. An ASCII key over plain ASCII text takes a short way, see the module `needle`.
//!
//! What SORT and THREAD go by is taken from messages that match, out of the header that was read for the keys
//! ([`Search::header`]): [`Sorter`] and [`Threader`] are given one message after the other, keep a few octets of each, and order
//! them at the end.
//!
//! A message of up to [`WHOLE`] octets is held while it is searched; a larger one is read twice in pieces, once for its
//! structure and once for its texts.
#![forbid(unsafe_code)]

mod evaluate;
mod interned;
mod keys;
mod needle;
mod sort;
pub mod subject;
mod text;
mod thread;

use ailurus_charset::Charset;
use ailurus_store::{Mailbox, MessageInfo, Result};
use ailurus_types::{Keywords, SearchProgram, SeqNum, Uid, UidSet};
use evaluate::Node;
pub use keys::sent_date;
use needle::Needle;
pub use sort::Sorter;
use text::Texts;
pub use thread::{Threader, Threads, Token};

/// The size in octets up to which a message is held whole.
pub const WHOLE: u64 = 1 << 20;

/// A search program, made ready for a mailbox.
pub struct Search {
    root: Node,
    /// What it costs to ask all keys of what is known of a message.
    cost: usize,
    texts: Texts,
}

/// What a program's keys refer to.
#[derive(Clone, Copy, Debug)]
pub struct Context<'m> {
    /// How many messages there are for the client: what `*` means among sequence numbers.
    pub exists: u32,
    /// The largest UID: what `*` means among UIDs.
    pub largest_uid: Option<Uid>,
    /// The mailbox's keywords.
    pub keywords: &'m Keywords,
    /// What a search saved last (RFC 5182).
    pub saved: &'m UidSet,
    /// The time in seconds since 1970 UTC, for OLDER and YOUNGER.
    pub now: i64,
}

/// A message that may match.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Its number.
    pub seq: SeqNum,
    /// What is known of it, with the flags that the client sees.
    pub info: MessageInfo,
    /// Whether it is recent in this session.
    pub recent: bool,
}

/// The charset of the program's strings is unknown.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("Unknown charset: {0}")]
pub struct BadCharset(pub Box<str>);

impl Search {
    /// Makes a program ready.
    ///
    /// The strings of a program without a charset are taken for UTF-8, else for windows-1252.
    ///
    /// # Errors
    ///
    /// The charset is none that we know; [`charsets`] are.
    pub fn compile(program: &SearchProgram, context: &Context<'_>) -> std::result::Result<Self, BadCharset> {
        let charset = match &program.charset {
            None => None,
            Some(label) => {
                Some(Charset::for_label(label.as_bytes()).ok_or_else(|| BadCharset(label.clone()))?)
            }
        };
        let mut texts = Texts::default();
        let mut needle = |key: &[u8]| {
            let mut text = String::new();
            match charset {
                Some(charset) => charset.decode(key, &mut text),
                None => text.push_str(&ailurus_charset::header_to_utf8(key)),
            }
            Needle::new(&text)
        };
        let root = Node::compile(&program.key, context, &mut texts, &mut needle);
        Ok(Self { cost: 64 + 4 * root.keys(), root, texts })
    }

    /// Tells whether a message matches. Adds to `cost` about how many octets were looked at, so that a long search can
    /// stop now and then.
    ///
    /// # Errors
    ///
    /// Those of reading the message.
    pub fn matches(
        &mut self,
        mailbox: &mut dyn Mailbox,
        candidate: &Candidate,
        cost: &mut usize,
    ) -> Result<bool> {
        *cost += self.cost;
        self.texts.begin();
        if let Some(answer) = self.root.evaluate(candidate, &self.texts) {
            return Ok(answer);
        }
        let uid = candidate.info.uid();
        if self.texts.wants_header() {
            *cost += self.texts.read_header(mailbox, uid)?;
            if let Some(answer) = self.root.evaluate(candidate, &self.texts) {
                return Ok(answer);
            }
        }
        *cost += self.texts.read_body(mailbox, uid, candidate.info.rfc822_size().into())?;
        Ok(self.root.evaluate(candidate, &self.texts).unwrap_or(false))
    }

    /// Returns the header of the message that [`Search::matches`] was asked about last: what was read for the keys if that is
    /// enough. At most [`ailurus_message::MAX_HEADER`] octets; more of the message may follow.
    ///
    /// # Errors
    ///
    /// Those of reading the message.
    pub fn header(&mut self, mailbox: &mut dyn Mailbox, uid: Uid, cost: &mut usize) -> Result<&[u8]> {
        self.texts.header(mailbox, uid, cost)
    }
}

/// Returns the charsets that a program may name: those of the reference in its order, then the others.
pub fn charsets() -> impl Iterator<Item = &'static str> {
    let others = Charset::all().map(Charset::name);
    CHARSETS.split(' ').chain(others.filter(|name| !CHARSETS.split(' ').any(|known| known == *name)))
}

/// The charsets of the reference. All of them are known.
const CHARSETS: &str = "US-ASCII UTF-8 UTF-7 ISO-8859-1 ISO-8859-2 ISO-8859-3 ISO-8859-4 ISO-8859-5 ISO-8859-6 \
    ISO-8859-7 ISO-8859-8 ISO-8859-9 ISO-8859-10 ISO-8859-11 ISO-8859-13 ISO-8859-14 ISO-8859-15 ISO-8859-16 KOI8-R \
    KOI8-U KOI8-RU TIS-620 VISCII GBK GB2312 CN-GB ISO-2022-CN CN-GB-12345 BIG5 CN-BIG5 BIG-5 ISO-2022-JP EUC-JP \
    SHIFT_JIS SHIFT-JIS ISO-2022-JP-1 ISO-2022-JP-2 ISO-2022-KR EUC-KR KSC5601 KSC_5601 KS_C_5601-1987 \
    KS_C_5601-1989 KS_C_5601-1992 KS_C_5601-1997 WINDOWS-874 CP874 WINDOWS-936 CP936 WINDOWS-949 CP949 \
    X-WINDOWS-949 WINDOWS-1250 CP1250 WINDOWS-1251 CP1251 WINDOWS-1252 CP1252 WINDOWS-1253 CP1253 WINDOWS-1254 \
    CP1254 WINDOWS-1255 CP1255 WINDOWS-1256 CP1256 WINDOWS-1257 CP1257 WINDOWS-1258 CP1258 IBM367 IBM437 IBM737 \
    IBM775 IBM850 IBM852 IBM855 IBM857 IBM860 IBM861 IBM862 IBM863 IBM864 IBM865 IBM866 IBM869 IBM874 \
    ANSI_X3.4-1968 UNICODE-1-1-UTF-7 UCS-2 UCS-4 UTF-16";

#[cfg(test)]
mod tests;
