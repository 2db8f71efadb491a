//! Commands as types (RFC 3501 §6 and its extensions), and the parser of their arguments.

use crate::imap::append::{self, AppendStart};
use crate::imap::args::{Args, Fault};
use crate::imap::fetch::{self, FetchArgs};
use crate::imap::head::{CommandName, Head, Name, Tag};
use crate::imap::list::{self, ListExtended};
use crate::imap::print;
use crate::imap::search::{self, SearchArgs};
use crate::imap::sort::{self, SortArgs, ThreadArgs};
use crate::imap::store::{self, StoreArgs};
use crate::imap::{Stop, SyntaxError};
use ailurus_types::{MailboxName, Secret, SequenceSet, SetError, SpecialUses};
use std::borrow::Cow;

/// The most pairs of one ID command, and the sizes of a field and its value in octets (RFC 2971 §3.3).
const ID_PAIRS: usize = 30;
const ID_FIELD: usize = 30;
const ID_VALUE: usize = 1024;

/// A command: what a client asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Command {
    /// The tag.
    pub tag: Tag,
    /// The name, which responses mention.
    pub name: CommandName,
    /// What the command is, with its arguments.
    pub body: CommandBody,
}

/// What the numbers of a command are: FETCH and its kin, or their UID forms.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Numbering {
    /// Message sequence numbers.
    SeqNum,
    /// UIDs.
    Uid,
}

/// Which messages a command is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MessageSet {
    /// Those with these numbers.
    Numbers(SequenceSet),
    /// `$` (RFC 5182): those that a SEARCH saved last.
    Saved,
}

/// A set of messages, or why the text is none. Judged when the command is executed
/// ([`SyntaxError::BogusSequence`]), together with what only the mailbox can tell.
pub type WrittenSet = Result<MessageSet, SetError>;

/// Reads a set of messages; the whole text must be one.
pub(crate) fn written_set(text: &[u8]) -> WrittenSet {
    match text {
        b"$" => Ok(MessageSet::Saved),
        _ => SequenceSet::parse(text).map(MessageSet::Numbers),
    }
}

/// A field of ID and its value; `None` for `NIL`.
pub type IdField = (Vec<u8>, Option<Vec<u8>>);

/// A command with its arguments.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CommandBody {
    /// RFC 3501 §6.1.1
    Capability,
    /// RFC 3501 §6.1.2
    Noop,
    /// RFC 3501 §6.1.3
    Logout,
    /// RFC 3501 §6.2.1
    StartTls,
    /// RFC 3501 §6.2.2, with the initial response of RFC 4959.
    Authenticate {
        /// The SASL mechanism as the client wrote it.
        mechanism: Box<str>,
        /// The initial response, still in base64; empty for `=`.
        initial: Option<Secret<Vec<u8>>>,
    },
    /// RFC 3501 §6.2.3
    Login {
        /// The user name.
        user: Vec<u8>,
        /// The password.
        password: Secret<Vec<u8>>,
    },
    /// RFC 3501 §6.3.1
    Select(MailboxName),
    /// RFC 3501 §6.3.2
    Examine(MailboxName),
    /// IMAP2bis: EXAMINE of a mailbox under `#public/`, which the name already begins with.
    Bboard(MailboxName),
    /// RFC 3501 §6.3.3; with uses RFC 6154 §3.
    Create {
        /// The mailbox.
        name: MailboxName,
        /// What it is for, if that is said.
        uses: Option<WrittenUses>,
    },
    /// RFC 3501 §6.3.4
    Delete(MailboxName),
    /// RFC 3501 §6.3.5
    Rename {
        /// The mailbox.
        from: MailboxName,
        /// Its new name.
        to: MailboxName,
    },
    /// RFC 3501 §6.3.6, also as `SUBSCRIBE MAILBOX name`.
    Subscribe(MailboxName),
    /// RFC 3501 §6.3.7, also as `UNSUBSCRIBE MAILBOX name`.
    Unsubscribe(MailboxName),
    /// RFC 3501 §6.3.8
    List(ListArgs),
    /// RFC 5258
    ListExtended(Box<ListExtended>),
    /// RFC 2193 §4.1
    Rlist(ListArgs),
    /// The reference's own (spec/imapd.md §6): LIST of mailboxes whose files hold a text.
    Scan {
        /// What LIST is given.
        names: ListArgs,
        /// What is searched for.
        text: Vec<u8>,
    },
    /// RFC 3501 §6.3.9
    Lsub(ListArgs),
    /// RFC 2193 §4.2
    Rlsub(ListArgs),
    /// IMAP2bis
    Find(Find),
    /// RFC 3501 §6.3.10
    Status(StatusArgs),
    /// RFC 3501 §6.3.11 and RFC 3502, up to the first message.
    Append(AppendStart),
    /// RFC 3501 §6.4.1
    Check,
    /// RFC 3501 §6.4.2
    Close,
    /// RFC 3691
    Unselect,
    /// RFC 3501 §6.4.3
    Expunge,
    /// RFC 4315 §2.1
    UidExpunge(WrittenSet),
    /// RFC 3501 §6.4.4 and RFC 4731
    Search(SearchArgs),
    /// RFC 5256 and RFC 5267 §3
    Sort(SortArgs),
    /// RFC 5256
    Thread(ThreadArgs),
    /// RFC 3501 §6.4.5
    Fetch(FetchArgs),
    /// RFC 3501 §6.4.6
    Store(StoreArgs),
    /// RFC 3501 §6.4.7
    Copy {
        /// The messages.
        set: WrittenSet,
        /// Where to.
        mailbox: MailboxName,
    },
    /// RFC 6851
    Move {
        /// The messages.
        set: WrittenSet,
        /// Where to.
        mailbox: MailboxName,
    },
    /// RFC 2177
    Idle,
    /// RFC 2342
    Namespace,
    /// RFC 2971; no fields for `NIL`.
    Id(Vec<IdField>),
    /// RFC 5161: the capabilities in upper case.
    Enable(Vec<Box<str>>),
}

/// The arguments of LIST and its kin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListArgs {
    /// The reference name.
    pub reference: Vec<u8>,
    /// The mailbox name with wildcards.
    pub pattern: Vec<u8>,
}

/// Special uses as a client wrote them: `Err` has the first that is none, fit to print.
pub type WrittenUses = Result<SpecialUses, Box<str>>;

/// What FIND looks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Find {
    /// `FIND MAILBOXES`: among subscribed names.
    Mailboxes(Vec<u8>),
    /// `FIND ALL.MAILBOXES`: among all names. Its `*` has become the `%` of LIST.
    AllMailboxes(Vec<u8>),
}

/// The arguments of STATUS.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StatusArgs {
    /// The mailbox.
    pub mailbox: MailboxName,
    /// The items asked for.
    pub items: StatusItems,
    /// Items that are none, in upper case and fit to print: each is a warning `Unknown status flag X`.
    pub unknown: Vec<Box<str>>,
}

/// The items of STATUS (RFC 3501 §6.3.10).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct StatusItems {
    /// `MESSAGES`
    pub messages: bool,
    /// `RECENT`
    pub recent: bool,
    /// `UNSEEN`
    pub unseen: bool,
    /// `UIDNEXT`
    pub uid_next: bool,
    /// `UIDVALIDITY`
    pub uid_validity: bool,
    /// `SIZE` (RFC 8438)
    pub size: bool,
}

impl StatusItems {
    /// Adds the item of this name, in any letter case; `false` if there is none.
    pub(crate) fn add(&mut self, name: &[u8]) -> bool {
        match name.to_ascii_uppercase().as_slice() {
            b"MESSAGES" => self.messages = true,
            b"RECENT" => self.recent = true,
            b"UNSEEN" => self.unseen = true,
            b"UIDNEXT" => self.uid_next = true,
            b"UIDVALIDITY" => self.uid_validity = true,
            b"SIZE" => self.size = true,
            _ => return false,
        }
        true
    }
}

impl CommandName {
    /// Returns what the numbers of the command are.
    #[must_use]
    pub const fn numbering(self) -> Numbering {
        match self {
            Self::UidCopy
            | Self::UidExpunge
            | Self::UidFetch
            | Self::UidMove
            | Self::UidSearch
            | Self::UidSort
            | Self::UidStore
            | Self::UidThread => Numbering::Uid,
            _ => Numbering::SeqNum,
        }
    }
}

impl Head<'_> {
    /// Parses the arguments.
    pub fn parse(self) -> Result<Command, Stop> {
        let Name::Known(name) = self.name else { return Err(self.unrecognized().into()) };
        let body = Parser { name, args: self.args }.body()?;
        Ok(Command { tag: self.tag, name, body })
    }
}

struct Parser<'l> {
    name: CommandName,
    args: Args<'l>,
}

impl Parser<'_> {
    fn body(mut self) -> Result<CommandBody, Stop> {
        use CommandBody as Body;
        match self.name {
            CommandName::Capability => self.alone(Body::Capability),
            CommandName::Noop => self.alone(Body::Noop),
            CommandName::Logout => self.alone(Body::Logout),
            CommandName::StartTls => self.alone(Body::StartTls),
            CommandName::Check => self.alone(Body::Check),
            CommandName::Close => self.alone(Body::Close),
            CommandName::Unselect => self.alone(Body::Unselect),
            CommandName::Expunge => self.alone(Body::Expunge),
            CommandName::Idle => self.alone(Body::Idle),
            CommandName::Namespace => self.alone(Body::Namespace),
            CommandName::Login => self.login(),
            CommandName::Authenticate => self.authenticate(),
            CommandName::Select => self.only_mailbox().map(Body::Select),
            CommandName::Examine => self.only_mailbox().map(Body::Examine),
            CommandName::Bboard => self.only_mailbox().map(|name| Body::Bboard(bboard(&name))),
            CommandName::Create => self.create(),
            CommandName::Delete => self.only_mailbox().map(Body::Delete),
            CommandName::Rename => self.rename(),
            CommandName::Subscribe => self.subscription().map(Body::Subscribe),
            CommandName::Unsubscribe => self.subscription().map(Body::Unsubscribe),
            CommandName::List => list::parse(&mut self.args, self.name),
            CommandName::Rlist => self.list().map(Body::Rlist),
            CommandName::Scan => self.scan(),
            CommandName::Lsub => self.list().map(Body::Lsub),
            CommandName::Rlsub => self.list().map(Body::Rlsub),
            CommandName::Find => self.find().map(Body::Find),
            CommandName::Status => self.status().map(Body::Status),
            CommandName::Append => self.append().map(Body::Append),
            CommandName::UidExpunge => self.uid_expunge(),
            CommandName::Search | CommandName::UidSearch => {
                search::parse(&mut self.args, self.name).map(Body::Search)
            }
            CommandName::Sort | CommandName::UidSort => {
                sort::parse_sort(&mut self.args, self.name).map(Body::Sort)
            }
            CommandName::Thread | CommandName::UidThread => {
                sort::parse_thread(&mut self.args, self.name).map(Body::Thread)
            }
            CommandName::Fetch | CommandName::UidFetch => {
                fetch::parse(&mut self.args, self.name).map(Body::Fetch)
            }
            CommandName::Store | CommandName::UidStore => {
                store::parse(&mut self.args, self.name).map(Body::Store)
            }
            CommandName::Copy | CommandName::UidCopy => {
                self.set_and_mailbox().map(|(set, mailbox)| Body::Copy { set, mailbox })
            }
            CommandName::Move | CommandName::UidMove => {
                self.set_and_mailbox().map(|(set, mailbox)| Body::Move { set, mailbox })
            }
            CommandName::Id => self.id().map(Body::Id),
            CommandName::Enable => self.enable().map(Body::Enable),
        }
    }

    fn alone(&self, body: CommandBody) -> Result<CommandBody, Stop> {
        self.end()?;
        Ok(body)
    }

    fn login(mut self) -> Result<CommandBody, Stop> {
        let user = self.astring()?.into_owned();
        let password = Secret::new(self.astring()?.into_owned());
        self.alone(CommandBody::Login { user, password })
    }

    fn authenticate(mut self) -> Result<CommandBody, Stop> {
        let mechanism = String::from_utf8_lossy(&self.astring()?).into();
        let mut initial = None;
        // QUIRK(mutt): with GNU SASL it sends a space and nothing behind it where a mechanism has no initial response.
        if self.args.has_more() && self.args.rest().is_empty() {
            return Ok(CommandBody::Authenticate { mechanism, initial });
        }
        if self.args.has_more() {
            let word = self.args.word().filter(|word| *word == b"=" || is_base64(word));
            let word = word.ok_or_else(|| self.missing())?;
            initial = Some(Secret::new(if word == b"=" { Vec::new() } else { word.to_vec() }));
        }
        self.alone(CommandBody::Authenticate { mechanism, initial })
    }

    fn create(mut self) -> Result<CommandBody, Stop> {
        let name = self.mailbox()?;
        let mut uses = None;
        if self.args.has_more() {
            uses = Some(list::parse_use(&mut self.args, self.name)?);
            self.end()?;
        }
        Ok(CommandBody::Create { name, uses })
    }

    fn rename(mut self) -> Result<CommandBody, Stop> {
        let from = self.mailbox()?;
        let to = self.mailbox()?;
        self.alone(CommandBody::Rename { from, to })
    }

    fn subscription(mut self) -> Result<MailboxName, Stop> {
        let first = self.mailbox()?;
        if self.args.has_more() && first.as_bytes().eq_ignore_ascii_case(b"MAILBOX") {
            return self.only_mailbox();
        }
        self.end()?;
        Ok(first)
    }

    fn list(mut self) -> Result<ListArgs, Stop> {
        let names = self.names()?;
        self.end()?;
        Ok(names)
    }

    fn names(&mut self) -> Result<ListArgs, Stop> {
        let reference = self.astring()?.into_owned();
        let pattern = self.pattern()?;
        Ok(ListArgs { reference, pattern })
    }

    fn scan(mut self) -> Result<CommandBody, Stop> {
        let names = self.names()?;
        let text = self.astring()?.into_owned();
        self.alone(CommandBody::Scan { names, text })
    }

    fn find(mut self) -> Result<Find, Stop> {
        let what = self.args.word().ok_or_else(|| self.missing())?;
        let mut pattern = self.pattern()?;
        self.end()?;
        if pattern.iter().any(|octet| matches!(octet, b'%' | b'?')) {
            return Err(SyntaxError::FindWildcard(print::echo(&pattern)).into());
        }
        match what.to_ascii_uppercase().as_slice() {
            b"MAILBOXES" => Ok(Find::Mailboxes(pattern)),
            b"ALL.MAILBOXES" => {
                pattern.iter_mut().filter(|octet| **octet == b'*').for_each(|octet| *octet = b'%');
                Ok(Find::AllMailboxes(pattern))
            }
            _ => Err(SyntaxError::unrecognized(&[b"FIND ", what].concat()).into()),
        }
    }

    fn status(mut self) -> Result<StatusArgs, Stop> {
        let mailbox = self.mailbox()?;
        let list = self.args.rest().strip_prefix(b"(").and_then(|list| list.strip_suffix(b")"));
        let list = list
            .filter(|list| self.args.has_more() && !list.contains(&b')'))
            .ok_or_else(|| self.missing())?;
        let (mut items, mut unknown, mut any) = (StatusItems::default(), Vec::new(), false);
        for item in list.split(|octet| *octet == b' ').filter(|item| !item.is_empty()) {
            any = true;
            if !items.add(item) {
                unknown.push(print::echo(&item.to_ascii_uppercase()));
            }
        }
        if any { Ok(StatusArgs { mailbox, items, unknown }) } else { Err(self.missing()) }
    }

    fn append(mut self) -> Result<AppendStart, Stop> {
        let mailbox = self.mailbox()?;
        if !self.args.has_more() {
            return Err(self.missing());
        }
        let first = append::parse_message(&mut self.args)?;
        Ok(AppendStart { mailbox, first })
    }

    fn uid_expunge(self) -> Result<CommandBody, Stop> {
        if !self.args.has_more() {
            return Err(self.missing());
        }
        Ok(CommandBody::UidExpunge(written_set(self.args.rest())))
    }

    fn set_and_mailbox(mut self) -> Result<(WrittenSet, MailboxName), Stop> {
        let set = self.args.word().ok_or_else(|| self.missing())?;
        let mailbox = self.only_mailbox()?;
        Ok((written_set(set), mailbox))
    }

    fn id(mut self) -> Result<Vec<IdField>, Stop> {
        let mut fields = Vec::new();
        if self.args.eat(b'(') {
            while !self.args.eat(b')') {
                if !fields.is_empty() && !self.args.eat(b' ') || fields.len() == ID_PAIRS {
                    return Err(self.missing());
                }
                fields.push(self.id_field()?);
            }
        } else {
            let nil = self.args.atom().map_err(|fault| fault.of(self.name))?;
            if !nil.eq_ignore_ascii_case(b"NIL") {
                return Err(self.missing());
            }
        }
        self.args.separator().map_err(|fault| fault.of(self.name))?;
        self.end()?;
        Ok(fields)
    }

    fn id_field(&mut self) -> Result<IdField, Stop> {
        let field = self.args.string().map_err(|fault| fault.of(self.name))?.into_owned();
        if !self.args.eat(b' ') || field.len() > ID_FIELD {
            return Err(self.missing());
        }
        if matches!(self.args.peek(), Some(b'n' | b'N')) {
            let nil = self.args.atom().map_err(|fault| fault.of(self.name))?;
            return if nil.eq_ignore_ascii_case(b"NIL") { Ok((field, None)) } else { Err(self.missing()) };
        }
        let value = self.args.string().map_err(|fault| fault.of(self.name))?.into_owned();
        if value.len() > ID_VALUE { Err(self.missing()) } else { Ok((field, Some(value))) }
    }

    fn enable(mut self) -> Result<Vec<Box<str>>, Stop> {
        let mut capabilities = Vec::new();
        loop {
            let atom = self.args.atom().map_err(|fault| fault.of(self.name))?;
            self.args.separator().map_err(|fault| fault.of(self.name))?;
            capabilities.push(String::from_utf8_lossy(&atom.to_ascii_uppercase()).into());
            if !self.args.has_more() {
                return Ok(capabilities);
            }
        }
    }

    fn only_mailbox(&mut self) -> Result<MailboxName, Stop> {
        let name = self.mailbox()?;
        self.end()?;
        Ok(name)
    }

    fn mailbox(&mut self) -> Result<MailboxName, Stop> {
        self.astring().map(|name| MailboxName::new(name.into_owned()))
    }

    fn astring(&mut self) -> Result<Cow<'_, [u8]>, Stop> {
        let name = self.name;
        self.args.astring().map_err(|fault| fault.of(name))
    }

    fn pattern(&mut self) -> Result<Vec<u8>, Stop> {
        self.args.pattern().map(Cow::into_owned).map_err(|fault| fault.of(self.name))
    }

    fn end(&self) -> Result<(), Stop> {
        if self.args.has_more() { Err(SyntaxError::SurplusArgument(self.name).into()) } else { Ok(()) }
    }

    fn missing(&self) -> Stop {
        Fault::Missing.of(self.name)
    }
}

/// Returns the mailbox that BBOARD means: `/x` and `x` are both `#public/x`.
fn bboard(name: &MailboxName) -> MailboxName {
    let name = name.as_bytes();
    MailboxName::new([b"#public/", name.strip_prefix(b"/").unwrap_or(name)].concat())
}

/// Tells whether the text is base64 as far as its characters go: at least one, then at most two `=`.
fn is_base64(text: &[u8]) -> bool {
    let body = text.strip_suffix(b"=").unwrap_or(text);
    let body = body.strip_suffix(b"=").unwrap_or(body);
    !body.is_empty() && body.iter().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/'))
}
