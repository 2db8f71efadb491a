//! Printers of responses (RFC 3501 §7), each a whole line unless it says otherwise.

use crate::imap::print::{self, keyword_items, list_item};
use crate::imap::{Numbering, Tag};
use ailurus_types::{Keywords, SeqNum, SpecialUses, SystemFlags, Uid, UidSet, UidValidity};
use std::fmt;

/// The condition of a status response (RFC 3501 §7.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// `OK`
    Ok,
    /// `NO`
    No,
    /// `BAD`
    Bad,
    /// `BYE`, untagged only.
    Bye,
    /// `PREAUTH`, a greeting.
    PreAuth,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::No => "NO",
            Self::Bad => "BAD",
            Self::Bye => "BYE",
            Self::PreAuth => "PREAUTH",
        }
    }
}

/// A response code (RFC 3501 §7.1, RFC 5530 and as noted).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Code<'c> {
    /// `ALERT`
    Alert,
    /// `ALREADYEXISTS`
    AlreadyExists,
    /// `APPENDUID` (RFC 4315): the UIDs of the appended messages.
    AppendUid(UidValidity, &'c UidSet),
    /// `AUTHENTICATIONFAILED`
    AuthenticationFailed,
    /// `AUTHORIZATIONFAILED`
    AuthorizationFailed,
    /// `BADCHARSET`: the charsets there are.
    BadCharset(&'c [&'c str]),
    /// `CANNOT`
    Cannot,
    /// `CAPABILITY`: the capabilities, a space between them.
    Capability(&'c str),
    /// `CLIENTBUG`
    ClientBug,
    /// `CLOSED` (RFC 7162)
    Closed,
    /// `CONTACTADMIN`
    ContactAdmin,
    /// `COPYUID` (RFC 4315): source and destination, both ascending.
    CopyUid(UidValidity, &'c UidSet, &'c UidSet),
    /// `CORRUPTION`
    Corruption,
    /// `EXPIRED`
    Expired,
    /// `EXPUNGEISSUED`
    ExpungeIssued,
    /// `INUSE`
    InUse,
    /// `LIMIT`
    Limit,
    /// `NONEXISTENT`
    NonExistent,
    /// `NOPERM`
    NoPerm,
    /// `OVERQUOTA`
    OverQuota,
    /// `PARSE`
    Parse,
    /// `PERMANENTFLAGS`
    PermanentFlags(PermanentFlags<'c>),
    /// `PRIVACYREQUIRED`
    PrivacyRequired,
    /// `READ-ONLY`
    ReadOnly,
    /// `READ-WRITE`
    ReadWrite,
    /// `REFERRAL` (RFC 2193, RFC 2221): URLs, which are none of a peer's.
    Referral(&'c [&'c str]),
    /// `SERVERBUG`
    ServerBug,
    /// `TRYCREATE`
    TryCreate,
    /// `UIDNEXT`
    UidNext(Uid),
    /// `UIDNOTSTICKY` (RFC 4315)
    UidNotSticky,
    /// `UIDVALIDITY`
    UidValidity(UidValidity),
    /// `UNAVAILABLE`
    Unavailable,
    /// `UNKNOWN-CTE` (RFC 3516)
    UnknownCte,
    /// `UNSEEN`: the first message without `\Seen`.
    Unseen(SeqNum),
    /// `USEATTR` (RFC 6154)
    UseAttr,
}

/// The flags that a client can change for good.
#[derive(Clone, Copy, Debug)]
pub struct PermanentFlags<'c> {
    /// The keywords; none are listed when `system` is empty and no keyword can be made (a read-only mailbox).
    pub keywords: &'c Keywords,
    /// Whether the client can make keywords: `\*`.
    pub new_keywords: bool,
    /// The system flags.
    pub system: SystemFlags,
}

impl Code<'_> {
    fn append_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.name().as_bytes());
        match self {
            Self::AppendUid(validity, uids) => {
                numbers(out, &[validity.get()]);
                out.push(b' ');
                print::ranges(out, uids.ranges());
            }
            Self::CopyUid(validity, source, destination) => {
                numbers(out, &[validity.get()]);
                for uids in [source, destination] {
                    out.push(b' ');
                    print::ranges(out, uids.ranges());
                }
            }
            Self::BadCharset(charsets) if !charsets.is_empty() => {
                out.extend_from_slice(b" (");
                let first = out.len();
                for charset in *charsets {
                    if out.len() > first {
                        out.push(b' ');
                    }
                    print::astring(out, charset.as_bytes());
                }
                out.push(b')');
            }
            Self::Capability(capabilities) => {
                out.push(b' ');
                out.extend_from_slice(capabilities.as_bytes());
            }
            Self::PermanentFlags(flags) => flags.append_to(out),
            Self::Referral(urls) => {
                for url in *urls {
                    out.push(b' ');
                    out.extend_from_slice(url.as_bytes());
                }
            }
            Self::UidNext(uid) => numbers(out, &[uid.get()]),
            Self::UidValidity(validity) => numbers(out, &[validity.get()]),
            Self::Unseen(seq) => numbers(out, &[seq.get()]),
            _ => {}
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Alert => "ALERT",
            Self::AlreadyExists => "ALREADYEXISTS",
            Self::AppendUid(..) => "APPENDUID",
            Self::AuthenticationFailed => "AUTHENTICATIONFAILED",
            Self::AuthorizationFailed => "AUTHORIZATIONFAILED",
            Self::BadCharset(_) => "BADCHARSET",
            Self::Cannot => "CANNOT",
            Self::Capability(_) => "CAPABILITY",
            Self::ClientBug => "CLIENTBUG",
            Self::Closed => "CLOSED",
            Self::ContactAdmin => "CONTACTADMIN",
            Self::CopyUid(..) => "COPYUID",
            Self::Corruption => "CORRUPTION",
            Self::Expired => "EXPIRED",
            Self::ExpungeIssued => "EXPUNGEISSUED",
            Self::InUse => "INUSE",
            Self::Limit => "LIMIT",
            Self::NonExistent => "NONEXISTENT",
            Self::NoPerm => "NOPERM",
            Self::OverQuota => "OVERQUOTA",
            Self::Parse => "PARSE",
            Self::PermanentFlags(_) => "PERMANENTFLAGS",
            Self::PrivacyRequired => "PRIVACYREQUIRED",
            Self::ReadOnly => "READ-ONLY",
            Self::ReadWrite => "READ-WRITE",
            Self::Referral(_) => "REFERRAL",
            Self::ServerBug => "SERVERBUG",
            Self::TryCreate => "TRYCREATE",
            Self::UidNext(_) => "UIDNEXT",
            Self::UidNotSticky => "UIDNOTSTICKY",
            Self::UidValidity(_) => "UIDVALIDITY",
            Self::Unavailable => "UNAVAILABLE",
            Self::UnknownCte => "UNKNOWN-CTE",
            Self::Unseen(_) => "UNSEEN",
            Self::UseAttr => "USEATTR",
        }
    }
}

impl PermanentFlags<'_> {
    fn append_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b" (");
        let first = out.len();
        if self.new_keywords || !self.system.is_empty() {
            keyword_items(out, first, self.keywords.iter().map(|(_, keyword)| keyword));
        }
        if self.new_keywords {
            list_item(out, first, b"\\*");
        }
        mailbox_system_flags(out, first, self.system);
        out.push(b')');
    }
}

/// Appends system flags in the order in which the reference prints those of a mailbox.
fn mailbox_system_flags(out: &mut Vec<u8>, first: usize, flags: SystemFlags) {
    const ORDER: [(SystemFlags, &[u8]); 5] = [
        (SystemFlags::ANSWERED, b"\\Answered"),
        (SystemFlags::FLAGGED, b"\\Flagged"),
        (SystemFlags::DELETED, b"\\Deleted"),
        (SystemFlags::DRAFT, b"\\Draft"),
        (SystemFlags::SEEN, b"\\Seen"),
    ];
    for (flag, name) in ORDER {
        if flags.contains(flag) {
            list_item(out, first, name);
        }
    }
}

/// Appends a tagged status response. The text is made safe ([`print::text`]).
pub fn tagged(out: &mut Vec<u8>, tag: &Tag, status: Status, code: Option<Code<'_>>, text: impl fmt::Display) {
    out.extend_from_slice(tag.as_str().as_bytes());
    status_line(out, status, code, text);
}

/// Appends an untagged status response, or a greeting. The text is made safe ([`print::text`]).
pub fn untagged(out: &mut Vec<u8>, status: Status, code: Option<Code<'_>>, text: impl fmt::Display) {
    out.push(b'*');
    status_line(out, status, code, text);
}

fn status_line(out: &mut Vec<u8>, status: Status, code: Option<Code<'_>>, text: impl fmt::Display) {
    out.push(b' ');
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    if let Some(code) = code {
        out.push(b'[');
        code.append_to(out);
        out.extend_from_slice(b"] ");
    }
    print::text(out, text);
    crlf(out);
}

/// Appends a continuation request: `+ Ready for argument`, or a SASL challenge in base64.
pub fn continuation(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b"+ ");
    print::text(out, text);
    crlf(out);
}

/// Appends `* n EXISTS`.
pub fn exists(out: &mut Vec<u8>, messages: u32) {
    numbered(out, messages, "EXISTS");
}

/// Appends `* n RECENT`.
pub fn recent(out: &mut Vec<u8>, messages: u32) {
    numbered(out, messages, "RECENT");
}

/// Appends `* n EXPUNGE`.
pub fn expunge(out: &mut Vec<u8>, message: SeqNum) {
    numbered(out, message.get(), "EXPUNGE");
}

/// Appends `* n FETCH (`; the items, with a space between each name and value and each two items, and [`fetch_end`]
/// are to follow.
pub fn fetch_start(out: &mut Vec<u8>, message: SeqNum) {
    out.extend_from_slice(b"* ");
    print::number(out, message.get().into());
    out.extend_from_slice(b" FETCH (");
}

/// Appends the end of a FETCH response.
pub fn fetch_end(out: &mut Vec<u8>) {
    out.extend_from_slice(b")\r\n");
}

fn numbered(out: &mut Vec<u8>, number: u32, what: &str) {
    out.extend_from_slice(b"* ");
    print::number(out, number.into());
    out.push(b' ');
    out.extend_from_slice(what.as_bytes());
    crlf(out);
}

/// Appends `* FLAGS (...)`: the keywords of the mailbox, then all system flags.
pub fn flags(out: &mut Vec<u8>, keywords: &Keywords) {
    out.extend_from_slice(b"* FLAGS (");
    let first = out.len();
    keyword_items(out, first, keywords.iter().map(|(_, keyword)| keyword));
    mailbox_system_flags(out, first, SystemFlags::ALL);
    out.push(b')');
    crlf(out);
}

/// Appends `* CAPABILITY ...`.
pub fn capability(out: &mut Vec<u8>, capabilities: &str) {
    word_line(out, "CAPABILITY", capabilities);
}

/// Appends `* ENABLED ...` (RFC 5161); without a capability just `* ENABLED`.
pub fn enabled(out: &mut Vec<u8>, capabilities: &str) {
    word_line(out, "ENABLED", capabilities);
}

fn word_line(out: &mut Vec<u8>, what: &str, words: &str) {
    out.extend_from_slice(b"* ");
    out.extend_from_slice(what.as_bytes());
    if !words.is_empty() {
        out.push(b' ');
        out.extend_from_slice(words.as_bytes());
    }
    crlf(out);
}

/// Which response lists a mailbox.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ListKind {
    /// `LIST`, of LIST and RLIST.
    List,
    /// `LSUB`, of LSUB and RLSUB.
    Lsub,
}

/// The attributes of a listed mailbox (RFC 3501 §7.2.2, RFC 3348).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ListAttributes {
    /// `\NoInferiors`
    pub no_inferiors: bool,
    /// `\NoSelect`
    pub no_select: bool,
    /// `\Marked`
    pub marked: bool,
    /// `\UnMarked`
    pub unmarked: bool,
    /// `\HasChildren`
    pub has_children: bool,
    /// `\HasNoChildren`
    pub has_no_children: bool,
    /// `\NonExistent` (RFC 5258)
    pub non_existent: bool,
    /// `\Subscribed` (RFC 5258)
    pub subscribed: bool,
    /// `\Remote` (RFC 5258)
    pub remote: bool,
    /// `\Sent` and the like (RFC 6154)
    pub uses: SpecialUses,
}

/// Appends `* LIST (attributes) "/" name`; without a hierarchy delimiter it is `NIL`. `child_info` are the selection options that
/// something below the mailbox meets: `("CHILDINFO" ("SUBSCRIBED"))` (RFC 5258).
pub fn list(
    out: &mut Vec<u8>,
    kind: ListKind,
    attributes: ListAttributes,
    delimiter: Option<u8>,
    name: &[u8],
    child_info: &[&str],
) {
    out.extend_from_slice(match kind {
        ListKind::List => b"* LIST (",
        ListKind::Lsub => b"* LSUB (",
    });
    let first = out.len();
    for (set, attribute) in [
        (attributes.no_inferiors, &b"\\NoInferiors"[..]),
        (attributes.no_select, b"\\NoSelect"),
        (attributes.marked, b"\\Marked"),
        (attributes.unmarked, b"\\UnMarked"),
        (attributes.has_children, b"\\HasChildren"),
        (attributes.has_no_children, b"\\HasNoChildren"),
        (attributes.non_existent, b"\\NonExistent"),
        (attributes.subscribed, b"\\Subscribed"),
        (attributes.remote, b"\\Remote"),
    ] {
        if set {
            list_item(out, first, attribute);
        }
    }
    for one in attributes.uses.iter() {
        list_item(out, first, one.name().as_bytes());
    }
    out.extend_from_slice(b") ");
    append_delimiter(out, delimiter);
    out.push(b' ');
    print::astring(out, name);
    if !child_info.is_empty() {
        out.extend_from_slice(b" (\"CHILDINFO\" (");
        let first = out.len();
        for option in child_info {
            list_item(out, first, format!("\"{option}\"").as_bytes());
        }
        out.extend_from_slice(b"))");
    }
    crlf(out);
}

/// Appends `* MAILBOX name`, what FIND answers with. IMAP2 has no quoting: control characters are left out.
pub fn mailbox(out: &mut Vec<u8>, name: &[u8]) {
    out.extend_from_slice(b"* MAILBOX ");
    out.extend(name.iter().filter(|octet| !octet.is_ascii_control()));
    crlf(out);
}

fn append_delimiter(out: &mut Vec<u8>, delimiter: Option<u8>) {
    match delimiter {
        None => out.extend_from_slice(b"NIL"),
        Some(octet @ (b'"' | b'\\')) => out.extend_from_slice(&[b'"', b'\\', octet, b'"']),
        Some(octet) => out.extend_from_slice(&[b'"', octet, b'"']),
    }
}

/// What STATUS answers; items that were not asked for are `None`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct StatusData {
    /// `MESSAGES`
    pub messages: Option<u32>,
    /// `RECENT`
    pub recent: Option<u32>,
    /// `UNSEEN`
    pub unseen: Option<u32>,
    /// `UIDNEXT`
    pub uid_next: Option<Uid>,
    /// `UIDVALIDITY`
    pub uid_validity: Option<UidValidity>,
    /// `SIZE` (RFC 8438)
    pub size: Option<u64>,
}

/// Appends `* STATUS name (items)`.
pub fn status(out: &mut Vec<u8>, name: &[u8], data: &StatusData) {
    out.extend_from_slice(b"* STATUS ");
    print::astring(out, name);
    out.extend_from_slice(b" (");
    let first = out.len();
    for (item, value) in [
        (&b"MESSAGES"[..], data.messages),
        (b"RECENT", data.recent),
        (b"UNSEEN", data.unseen),
        (b"UIDNEXT", data.uid_next.map(Uid::get)),
        (b"UIDVALIDITY", data.uid_validity.map(UidValidity::get)),
    ] {
        if let Some(value) = value {
            list_item(out, first, item);
            numbers(out, &[value]);
        }
    }
    if let Some(size) = data.size {
        list_item(out, first, b"SIZE ");
        // RFC 8438 §3: at most 63 bits.
        print::number(out, size.min(i64::MAX.unsigned_abs()));
    }
    out.extend_from_slice(b")\r\n");
}

/// What ESEARCH answers (RFC 4731), but for its longest part; options that were not asked for, or found nothing, are left
/// out.
#[derive(Clone, Copy, Debug)]
pub struct Esearch {
    /// What the numbers are.
    pub numbering: Numbering,
    /// `MIN`
    pub min: Option<u32>,
    /// `MAX`
    pub max: Option<u32>,
    /// `COUNT`
    pub count: Option<u32>,
}

/// Appends the start of an ESEARCH response, `* ESEARCH (TAG "a") UID MIN 2 MAX 4`. What may follow is ` ALL ` and a set; then
/// [`esearch_end`].
pub fn esearch_start(out: &mut Vec<u8>, tag: &Tag, found: &Esearch) {
    out.extend_from_slice(b"* ESEARCH (TAG ");
    print::string(out, tag.as_str().as_bytes());
    out.push(b')');
    if found.numbering == Numbering::Uid {
        out.extend_from_slice(b" UID");
    }
    named_number(out, " MIN", found.min);
    named_number(out, " MAX", found.max);
}

/// Appends the end of an ESEARCH response, ` COUNT 3`.
pub fn esearch_end(out: &mut Vec<u8>, found: &Esearch) {
    named_number(out, " COUNT", found.count);
    crlf(out);
}

fn named_number(out: &mut Vec<u8>, name: &str, value: Option<u32>) {
    if let Some(value) = value {
        out.extend_from_slice(name.as_bytes());
        numbers(out, &[value]);
    }
}

/// A namespace: the prefix of its names, and the hierarchy delimiter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Namespace<'n> {
    /// The prefix.
    pub prefix: &'n [u8],
    /// The delimiter.
    pub delimiter: Option<u8>,
}

/// Appends `* NAMESPACE personal other shared` (RFC 2342); a class without namespaces is `NIL`.
pub fn namespace(out: &mut Vec<u8>, classes: [&[Namespace<'_>]; 3]) {
    out.extend_from_slice(b"* NAMESPACE");
    for class in classes {
        out.push(b' ');
        if class.is_empty() {
            out.extend_from_slice(b"NIL");
            continue;
        }
        out.push(b'(');
        for namespace in class {
            out.push(b'(');
            print::string(out, namespace.prefix);
            out.push(b' ');
            append_delimiter(out, namespace.delimiter);
            out.push(b')');
        }
        out.push(b')');
    }
    crlf(out);
}

/// Appends `* ID (...)` (RFC 2971), or `* ID NIL` without fields.
pub fn id(out: &mut Vec<u8>, fields: &[(&str, &str)]) {
    out.extend_from_slice(b"* ID ");
    if fields.is_empty() {
        out.extend_from_slice(b"NIL");
    }
    for (position, (field, value)) in fields.iter().enumerate() {
        out.push(if position == 0 { b'(' } else { b' ' });
        print::string(out, field.as_bytes());
        out.push(b' ');
        print::string(out, value.as_bytes());
    }
    if !fields.is_empty() {
        out.push(b')');
    }
    crlf(out);
}

/// Appends each number after a space.
fn numbers(out: &mut Vec<u8>, values: &[u32]) {
    for value in values {
        out.push(b' ');
        print::number(out, (*value).into());
    }
}

fn crlf(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::print::{Recency, internal_date, message_flags};
    use crate::imap::{FetchItem, SyntaxError};
    use ailurus_types::{Flags, InternalDate, Keyword, SpecialUse};

    fn line(print: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        print(&mut out);
        String::from_utf8(out).unwrap().strip_suffix("\r\n").unwrap().to_owned()
    }

    fn uids(uids: &[u32]) -> UidSet {
        uids.iter().map(|uid| Uid::new(*uid).unwrap()).collect()
    }

    fn tag() -> Tag {
        Tag::new(b"a41").unwrap()
    }

    fn keywords(names: &[&str]) -> Keywords {
        let mut keywords = Keywords::default();
        for name in names {
            keywords.push(Keyword::new(name.as_bytes()), 30).unwrap();
        }
        keywords
    }

    #[test]
    fn status_responses_and_their_codes() {
        let validity = UidValidity::new(1_795_435_971).unwrap();
        let coded = |code| line(|out| tagged(out, &tag(), Status::Ok, Some(code), "X completed"));
        for (code, text) in [
            (Code::AppendUid(validity, &uids(&[3, 4])), "APPENDUID 1795435971 3:4"),
            (Code::CopyUid(validity, &uids(&[1, 3]), &uids(&[7, 8])), "COPYUID 1795435971 1,3 7:8"),
            (Code::BadCharset(&["US-ASCII", "UTF-8"]), "BADCHARSET (US-ASCII UTF-8)"),
            (Code::BadCharset(&[]), "BADCHARSET"),
            (Code::Capability("IMAP4REV1 IDLE"), "CAPABILITY IMAP4REV1 IDLE"),
            (Code::ReadWrite, "READ-WRITE"),
            (Code::UidNext(Uid::new(6).unwrap()), "UIDNEXT 6"),
            (Code::UidValidity(validity), "UIDVALIDITY 1795435971"),
            (Code::Unseen(SeqNum::new(1).unwrap()), "UNSEEN 1"),
            (Code::UnknownCte, "UNKNOWN-CTE"),
        ] {
            assert_eq!(coded(code), format!("a41 OK [{text}] X completed"));
        }
        assert_eq!(
            line(|out| untagged(out, Status::Bye, None, "x\r\ny")),
            "* BYE x  y",
            "no text ends its line early"
        );
        assert_eq!(line(|out| untagged(out, Status::PreAuth, None, "hi")), "* PREAUTH hi");
        assert_eq!(line(|out| continuation(out, "")), "+ ");
        let error = SyntaxError::Unrecognized("FOO".into());
        assert_eq!(line(|out| error.answer(out, &tag())), "a41 BAD Command unrecognized: FOO");
    }

    #[test]
    fn flag_lists_of_a_mailbox() {
        let some = keywords(&["KeyA", "KeyB"]);
        assert_eq!(
            line(|out| flags(out, &some)),
            "* FLAGS (KeyA KeyB \\Answered \\Flagged \\Deleted \\Draft \\Seen)"
        );
        let permanent = |new_keywords, system| {
            let code = Code::PermanentFlags(PermanentFlags { keywords: &some, new_keywords, system });
            line(|out| untagged(out, Status::Ok, Some(code), "Permanent flags"))
        };
        assert_eq!(
            permanent(true, SystemFlags::ALL),
            "* OK [PERMANENTFLAGS (KeyA KeyB \\* \\Answered \\Flagged \\Deleted \\Draft \\Seen)] Permanent flags"
        );
        assert_eq!(permanent(false, SystemFlags::NONE), "* OK [PERMANENTFLAGS ()] Permanent flags");
    }

    #[test]
    fn sizes_of_a_mailbox_and_fetch() {
        assert_eq!(line(|out| exists(out, 5)), "* 5 EXISTS");
        assert_eq!(line(|out| recent(out, 0)), "* 0 RECENT");
        let two = SeqNum::new(2).unwrap();
        assert_eq!(line(|out| expunge(out, two)), "* 2 EXPUNGE");
        let date = InternalDate::parse(b" 7-Jan-2020 10:11:12 +0100", 0).unwrap();
        let fetched = line(|out| {
            fetch_start(out, two);
            FetchItem::Flags.append_name(out);
            out.push(b' ');
            let flags = Flags { system: SystemFlags::SEEN, ..Flags::default() };
            message_flags(out, Recency::Recent, flags, &Keywords::default());
            out.extend_from_slice(b" INTERNALDATE ");
            internal_date(out, &date);
            fetch_end(out);
        });
        assert_eq!(
            fetched,
            "* 2 FETCH (FLAGS (\\Recent \\Seen) INTERNALDATE \" 7-Jan-2020 10:11:12 +0100\")"
        );
    }

    #[test]
    fn listed_mailboxes() {
        let all = ListAttributes {
            no_inferiors: true,
            no_select: true,
            marked: true,
            unmarked: true,
            has_children: true,
            has_no_children: true,
            non_existent: true,
            subscribed: true,
            remote: true,
            uses: [SpecialUse::Sent, SpecialUse::Drafts].into_iter().collect(),
        };
        assert_eq!(
            line(|out| list(out, ListKind::List, all, Some(b'/'), b"a b", &[])),
            "* LIST (\\NoInferiors \\NoSelect \\Marked \\UnMarked \\HasChildren \\HasNoChildren \\NonExistent \\Subscribed \\Remote \\Drafts \\Sent) \"/\" \"a b\""
        );
        let none = ListAttributes::default();
        assert_eq!(line(|out| list(out, ListKind::Lsub, none, None, b"INBOX", &[])), "* LSUB () NIL INBOX");
        assert_eq!(
            line(|out| list(out, ListKind::List, none, Some(b'\\'), b"", &["A", "B"])),
            "* LIST () \"\\\\\" \"\" (\"CHILDINFO\" (\"A\" \"B\"))"
        );
        assert_eq!(line(|out| mailbox(out, b"a\r\nb")), "* MAILBOX ab");
    }

    #[test]
    fn status_lists_items_in_its_own_order() {
        let mut data = StatusData { messages: Some(5), unseen: Some(3), ..StatusData::default() };
        assert_eq!(line(|out| status(out, b"INBOX", &data)), "* STATUS INBOX (MESSAGES 5 UNSEEN 3)");
        data.recent = Some(1);
        data.uid_next = Uid::new(6);
        data.uid_validity = UidValidity::new(7);
        assert_eq!(
            line(|out| status(out, b"x", &data)),
            "* STATUS x (MESSAGES 5 RECENT 1 UNSEEN 3 UIDNEXT 6 UIDVALIDITY 7)"
        );
        assert_eq!(line(|out| status(out, b"x", &StatusData::default())), "* STATUS x ()");
    }

    #[test]
    fn search_results() {
        let print = |found: &Esearch| {
            line(|out| {
                esearch_start(out, &tag(), found);
                esearch_end(out, found);
            })
        };
        let found = Esearch { numbering: Numbering::Uid, min: Some(2), max: Some(4), count: Some(3) };
        assert_eq!(print(&found), "* ESEARCH (TAG \"a41\") UID MIN 2 MAX 4 COUNT 3");
        let nothing = Esearch { numbering: Numbering::SeqNum, min: None, max: None, count: Some(0) };
        assert_eq!(print(&nothing), "* ESEARCH (TAG \"a41\") COUNT 0");
    }

    #[test]
    fn namespaces_and_the_rest() {
        let one = |prefix, delimiter| Namespace { prefix, delimiter };
        let personal = [one(&b""[..], Some(b'/')), one(b"#mhinbox", None), one(b"#mh/", Some(b'/'))];
        assert_eq!(
            line(|out| namespace(out, [&personal, &[one(b"~", Some(b'/'))], &[]])),
            "* NAMESPACE ((\"\" \"/\")(\"#mhinbox\" NIL)(\"#mh/\" \"/\")) ((\"~\" \"/\")) NIL"
        );
        assert_eq!(line(|out| id(out, &[])), "* ID NIL");
        assert_eq!(
            line(|out| id(out, &[("name", "Ailurus"), ("version", "0.1.0")])),
            "* ID (\"name\" \"Ailurus\" \"version\" \"0.1.0\")"
        );
        assert_eq!(line(|out| enabled(out, "")), "* ENABLED");
        assert_eq!(line(|out| capability(out, "IMAP4REV1 IDLE")), "* CAPABILITY IMAP4REV1 IDLE");
    }
}
