//! CAPABILITY, ID, ENABLE: what this server can do (spec/imapd.md §4).
//!
//! The order and the spelling of the reference are kept for what it has, `IMAP4REV1` included. What is listed works.

use crate::config::TlsState;
use crate::imap::session::{Account, Session, State};
use crate::imap::tagged::Outcome;
use ailurus_proto::imap::{CommandName, Tag, response};

const ALWAYS: &str = "IMAP4REV1 I18NLEVEL=1 LITERAL+";
const AFTER_LOGIN: &str = "IDLE UIDPLUS NAMESPACE CHILDREN BINARY UNSELECT ESEARCH WITHIN SORT THREAD=REFERENCES \
    THREAD=ORDEREDSUBJECT MULTIAPPEND SCAN ID ENABLE MOVE \
    LIST-EXTENDED LIST-STATUS STATUS=SIZE SPECIAL-USE CREATE-SPECIAL-USE SEARCHRES ESORT SORT=DISPLAY THREAD=REFS";

/// What is left out for the anonymous user.
const NOT_ANONYMOUS: [&str; 3] = ["MULTIAPPEND", "MOVE", "CREATE-SPECIAL-USE"];

impl Session {
    /// CAPABILITY (RFC 3501 §6.1.1): all lists that matter in this state.
    pub(crate) fn capability(&mut self, tag: Tag) {
        let mut list = self.capabilities_of_login();
        if matches!(self.state, State::NotAuthenticated) {
            list.push(' ');
            list.push_str(&self.before_login());
        }
        response::capability(&mut self.output, &list);
        self.finish(tag, CommandName::Capability, Outcome::ok());
    }

    /// Returns the list of the OK greeting.
    pub(crate) fn capabilities_of_greeting(&self) -> String {
        format!("{ALWAYS} {}", self.before_login())
    }

    /// Returns the list of the PREAUTH greeting and of a login.
    pub(crate) fn capabilities_of_login(&self) -> String {
        format!("{ALWAYS} {}", self.after_login())
    }

    /// Returns what there is after login: for the anonymous user, nothing that needs a mailbox to write to.
    fn after_login(&self) -> String {
        let all = AFTER_LOGIN.split(' ');
        let anonymous = self.state.account().is_some_and(Account::is_anonymous);
        let list =
            all.filter(|word| !anonymous || !NOT_ANONYMOUS.contains(word)).collect::<Vec<_>>().join(" ");
        if self.base.config.referrals.mailboxes.is_empty() {
            return list;
        }
        list.replacen(" BINARY", " MAILBOX-REFERRALS BINARY", 1)
    }

    fn before_login(&self) -> String {
        let mut list = String::from("SASL-IR");
        if !self.base.config.referrals.users.is_empty() {
            list.push_str(" LOGIN-REFERRALS");
        }
        if self.base.config.tls == TlsState::Available {
            list.push_str(" STARTTLS");
        }
        if self.base.config.plaintext_disabled() {
            list.push_str(" LOGINDISABLED");
        }
        for name in self.base.offered() {
            list.push_str(" AUTH=");
            list.push_str(name);
        }
        list
    }

    /// ID (RFC 2971): who we are. What the client says of itself is of no use to us.
    pub(crate) fn id(&mut self, tag: Tag) {
        let product = self.base.config.product.clone();
        let (name, version) = product.rsplit_once(' ').unwrap_or((&product, ""));
        let mut fields = vec![("name", name)];
        // Before login nobody needs to know for which version to look for weaknesses.
        if !version.is_empty() && !matches!(self.state, State::NotAuthenticated) {
            fields.push(("version", version));
        }
        response::id(&mut self.output, &fields);
        self.finish(tag, CommandName::Id, Outcome::ok());
    }

    /// ENABLE (RFC 5161): nothing that we have needs it.
    pub(crate) fn enable(&mut self, tag: Tag) {
        response::enabled(&mut self.output, "");
        self.finish(tag, CommandName::Enable, Outcome::ok());
    }
}
