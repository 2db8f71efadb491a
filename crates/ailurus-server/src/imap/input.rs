//! From frames of input to commands: what is allowed in which state, what is refused and how, and which file does what.

use crate::event::{Facility, Priority};
use crate::imap::anonymous;
use crate::imap::session::{Account, Session, State, Work};
use crate::imap::tagged::Outcome;
use ailurus_proto::imap::response::{self, Status};
use ailurus_proto::imap::{
    Command, CommandBody, CommandLine, CommandName, Frame, Name, Stop, SyntaxError, Tag, parse_head,
};

impl Session {
    /// Takes one frame of input; `false` when there is none.
    pub(crate) fn take_frame(&mut self) -> bool {
        let Some(frame) = self.splitter.next_frame() else { return false };
        match (frame, &mut self.work) {
            (Frame::Data(octets), Work::Append(append)) => append.write(octets),
            (Frame::DataEnd, Work::Append(_)) => self.append_literal_ended(),
            (Frame::Command(line) | Frame::Literal(line, _), Work::Append(_)) => {
                let tail = ailurus_proto::imap::parse_append_tail(line);
                self.append_went_on(tail);
            }
            (Frame::Raw(line), Work::Idle(_)) => {
                let done = line.eq_ignore_ascii_case(b"DONE");
                self.end_idle(done);
            }
            (Frame::RawTooLong, Work::Idle(_)) => self.end_idle(false),
            (Frame::Raw(line), Work::Sasl(_)) => {
                let response = ailurus_auth::decode_response(line);
                self.sasl_response(response.ok());
            }
            (Frame::RawTooLong, Work::Sasl(_)) => self.sasl_response(None),
            (Frame::Command(line), _) => {
                let judged = Judged::of(line, &self.state);
                self.take_command(judged, false);
            }
            (Frame::Literal(line, _), _) => {
                let judged = Judged::of(line, &self.state);
                self.take_command(judged, true);
            }
            (Frame::LineTooLong(line), _) => {
                let tag = Tag::of_line(line);
                self.line_too_long(tag);
            }
            // Frames of something that has ended meanwhile.
            (Frame::Data(_) | Frame::DataEnd | Frame::Raw(_) | Frame::RawTooLong, _) => {}
        }
        true
    }

    fn take_command(&mut self, judged: Judged, literal: bool) {
        match judged {
            Judged::Command(command) => {
                // A command that has its verdict before the literal that its line announces.
                if literal && !matches!(command.body, CommandBody::Append(_)) {
                    self.splitter.reject();
                }
                self.execute(command);
            }
            Judged::NeedsLiteral(tag, waits) => self.accept_literal(tag, waits),
            Judged::Head(error) => {
                self.splitter.reject();
                error.answer(&mut self.output);
                let before = "before authentication";
                match error {
                    ailurus_proto::imap::HeadError::LongTag => {}
                    ailurus_proto::imap::HeadError::MissingTag => {
                        self.hang_up(&format!("Null command {before}"))
                    }
                    ailurus_proto::imap::HeadError::MissingCommand(_) => {
                        self.hang_up(&format!("Missing command {before}"));
                    }
                }
                self.command_ended();
            }
            Judged::Refused(tag, name, error) => {
                self.splitter.reject();
                self.refuse(tag, name, &error);
            }
        }
    }

    /// Asks for a literal, which is then collected.
    fn accept_literal(&mut self, tag: Tag, waits: bool) {
        if self.splitter.accept_literal().is_err() {
            // Within the limits of each literal, but not of the command.
            return self.line_too_long(Some(tag));
        }
        if waits {
            response::continuation(&mut self.output, "Ready for argument");
        }
        self.expect_more();
    }

    fn line_too_long(&mut self, tag: Option<Tag>) {
        if matches!(self.work, Work::Append(_)) {
            // It was the tail behind a message: what comes next is a command again, not more of this one.
            return self.append_failed(Outcome::bad(SyntaxError::LineTooLong));
        }
        match tag {
            Some(tag) => SyntaxError::LineTooLong.answer(&mut self.output, &tag),
            None => self.untagged(Status::Bad, None, SyntaxError::LineTooLong),
        }
        self.hang_up("Line too long before authentication");
        self.command_ended();
    }

    /// Answers a command that is none. Before login the third unknown one ends the session.
    fn refuse(&mut self, tag: Tag, name: Option<CommandName>, error: &SyntaxError) {
        if let SyntaxError::LiteralTooLong(_, size) = error {
            let text = format!("Overlong ({size}) client literal {}", self.who());
            self.log(Facility::Mail, Priority::Info, text);
        }
        error.answer(&mut self.output, &tag);
        if matches!(error, SyntaxError::LiteralTooLong(..)) {
            self.count_logged_failure();
        }
        if matches!(error, SyntaxError::UnrecognizedUnnamed) && name != Some(CommandName::Authenticate) {
            self.unknown_commands += 1;
            if self.unknown_commands >= self.limits.bad_commands {
                self.end("Logout", 0);
            }
        }
        self.command_ended();
    }

    /// Ends a session in which nobody is logged in, without a word to the client: what speaks here may be a web browser
    /// that somebody misuses.
    fn hang_up(&mut self, why: &str) {
        if matches!(self.state, State::NotAuthenticated) {
            let text = format!("{why} host={:.80}", self.base.config.client);
            self.log(Facility::Mail, Priority::Info, text);
            self.end("Logout", 0);
        }
    }

    fn execute(&mut self, command: Command) {
        let Command { tag, name, body } = command;
        self.continuing = false;
        self.waiting_since = self.now;
        match body {
            CommandBody::Capability => self.capability(tag),
            CommandBody::Noop => self.finish(tag, name, Outcome::ok()),
            CommandBody::Logout => self.logout(&tag),
            CommandBody::StartTls => self.starttls(tag),
            CommandBody::Authenticate { mechanism, initial } => self.authenticate(tag, &mechanism, initial),
            CommandBody::Login { user, password } => self.login(tag, &user, password),
            CommandBody::Enable(_) => self.enable(tag),
            CommandBody::Id(_) => self.id(tag),
            body => self.execute_authenticated(tag, name, body),
        }
    }

    fn execute_authenticated(&mut self, tag: Tag, name: CommandName, body: CommandBody) {
        use ailurus_store::Access;
        let (State::Authenticated(account) | State::Selected(account, _)) = &self.state else {
            return self.finish(tag, name, Outcome::ok());
        };
        let account = account.clone();
        if account.is_anonymous()
            && let Some(refusal) = anonymous::refusal(name, &body)
        {
            return self.finish(tag, name, refusal);
        }
        if self.refer(&tag, name, &account, &body) {
            return;
        }
        match body {
            CommandBody::Select(mailbox) => self.select(tag, name, mailbox, Access::ReadWrite),
            CommandBody::Examine(mailbox) | CommandBody::Bboard(mailbox) => {
                self.select(tag, name, mailbox, Access::ReadOnly);
            }
            CommandBody::Create { name, uses } => self.create(tag, &account, &name, uses),
            CommandBody::Delete(mailbox) => self.delete(tag, &account, &mailbox),
            CommandBody::Rename { from, to } => self.rename(tag, &account, &from, &to),
            CommandBody::Subscribe(mailbox) => self.subscribe(tag, &account, &mailbox),
            CommandBody::Unsubscribe(mailbox) => self.unsubscribe(tag, &account, &mailbox),
            CommandBody::List(args) | CommandBody::Rlist(args) => self.list(tag, name, &account, args),
            CommandBody::ListExtended(args) => self.list_extended(tag, &account, *args),
            CommandBody::Scan { names, text } => self.scan(tag, &account, names, text),
            CommandBody::Lsub(args) | CommandBody::Rlsub(args) => self.lsub(tag, name, &account, args),
            CommandBody::Find(find) => self.find(tag, &account, find),
            CommandBody::Namespace => self.namespace(tag, &account),
            CommandBody::Status(args) => self.status(tag, &account, &args),
            CommandBody::Append(start) => self.append(tag, &account, start),
            CommandBody::Idle => self.idle(tag),
            CommandBody::Check => self.check(tag),
            CommandBody::Close => self.close(tag, name),
            CommandBody::Unselect => self.unselect(tag),
            CommandBody::Expunge => self.expunge(tag, name, None),
            CommandBody::UidExpunge(set) => self.expunge(tag, name, Some(set)),
            CommandBody::Fetch(args) => self.fetch(tag, name, args),
            CommandBody::Store(args) => self.store(tag, name, args),
            CommandBody::Search(args) => self.search(tag, name, &args),
            CommandBody::Sort(args) => self.sort(tag, name, &args),
            CommandBody::Thread(args) => self.thread(tag, name, &args),
            CommandBody::Copy { set, mailbox } => self.copy(tag, name, &account, set, mailbox),
            CommandBody::Move { set, mailbox } => self.copy(tag, name, &account, set, mailbox),
            _ => self.finish(tag, name, Outcome::ok()),
        }
    }
}

/// What a line is, in the state of the session.
enum Judged {
    Command(Command),
    /// A literal is wanted, which the client may be waiting to send.
    NeedsLiteral(Tag, bool),
    Head(ailurus_proto::imap::HeadError),
    Refused(Tag, Option<CommandName>, SyntaxError),
}

impl Judged {
    fn of(line: &CommandLine, state: &State) -> Self {
        let head = match parse_head(line) {
            Ok(head) => head,
            Err(error) => return Self::Head(error),
        };
        let tag = head.tag.clone();
        let name = match head.name {
            Name::Known(name) if is_allowed(name, state) => name,
            Name::Known(_) | Name::Unknown(_) if matches!(state, State::NotAuthenticated) => {
                return Self::Refused(tag, None, SyntaxError::UnrecognizedUnnamed);
            }
            Name::Known(_) | Name::Unknown(_) => {
                let error = head.unrecognized();
                return Self::Refused(tag, None, error);
            }
        };
        match head.parse() {
            Ok(command) => Self::Command(command),
            Err(Stop::NeedsLiteral(literal)) => {
                Self::NeedsLiteral(tag, literal.sync == ailurus_proto::imap::Synchronizing::Yes)
            }
            Err(Stop::Refused(error)) => Self::Refused(tag, Some(name), error),
        }
    }
}

/// Tells whether a command is known in a state (spec/imapd.md §3).
fn is_allowed(name: CommandName, state: &State) -> bool {
    use CommandName as Name;
    if state.account().is_some_and(Account::is_anonymous) && !anonymous::has(name) {
        return false;
    }
    match name {
        Name::Capability | Name::Noop | Name::Logout | Name::Id => true,
        Name::Authenticate | Name::Login | Name::StartTls => matches!(state, State::NotAuthenticated),
        Name::Check
        | Name::Close
        | Name::Unselect
        | Name::Expunge
        | Name::UidExpunge
        | Name::Fetch
        | Name::UidFetch
        | Name::Store
        | Name::UidStore
        | Name::Search
        | Name::UidSearch
        | Name::Sort
        | Name::UidSort
        | Name::Thread
        | Name::UidThread
        | Name::Copy
        | Name::UidCopy
        | Name::Move
        | Name::UidMove => matches!(state, State::Selected(..)),
        _ => matches!(state, State::Authenticated(_) | State::Selected(..)),
    }
}
