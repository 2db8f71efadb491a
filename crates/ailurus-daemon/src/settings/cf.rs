//! `/etc/c-client.cf`, `~/.mminit` and `~/.imaprc`: the configuration files of the original (spec/auth.md §9).
//!
//! Lines of the form `set NAME VALUE`, single spaces between, the name in any letter case; anything else is a comment. What
//! concerns clients or other programs is left alone; what we should obey and do not is a complaint. The original stops
//! reading at a line of 1023 octets and passes over a last line without an end; such lines are obeyed here, with a
//! complaint, since whoever wrote them meant them.
//!
//! What a user's own file may set cannot lead out of what the host restricts: whoever can store mail can write such a file,
//! by an APPEND to a mailbox `.imaprc`.

use super::complaint::Position;
use super::{Complaint, Gravity, Mode, Settings, Space, Spool};
use super::{absolute, absolute_or_relative, format, host_name, keyword, near, read_file, relative};
use ailurus_server::Plaintext;
use ailurus_store::{Advertise, Environment, Restrictions};
use std::path::{Path, PathBuf};

/// The original reads no line that is as long, nor what follows.
const MOST_LINE: usize = 1023;

/// A user does not fill the host's log with more complaints than about this many at a time.
const MOST_OF_USER: usize = 20;

/// A setting that a file of the original's has, for whoever reads another file after it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Said {
    pub(super) file: PathBuf,
    pub(super) at: Position,
    /// In lower case.
    pub(super) name: String,
}

/// Whose file is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Whose {
    Host,
    User,
    /// `~/.mminit`, where only keywords count.
    UserKeywords,
}

/// Reads the host's file.
pub(super) fn read_host(settings: &mut Settings, file: &Path, text: &[u8]) -> Vec<Said> {
    read(settings, file, text, Whose::Host)
}

/// What holds where the host's file cannot be read.
pub(super) fn be_strict(settings: &mut Settings) {
    settings.plaintext = Some(Plaintext::Never);
    settings.restrictions = Some(Restrictions::all());
}

impl Settings {
    /// Changes a user's surroundings as the user's own files say, if the host allows that. To be called with the rights of
    /// the user, who must own the files.
    #[must_use]
    pub fn read_users(&self, environment: &mut Environment) -> Vec<Complaint> {
        if self.user_config != Some(true) {
            return Vec::new();
        }
        let owner = rustix::process::geteuid().as_raw();
        let mut own = Self::default();
        for (name, whose) in [(".mminit", Whose::UserKeywords), (".imaprc", Whose::User)] {
            let file = environment.home.join(name);
            match read_file(&file, Some(owner)) {
                Ok(Some(text)) => drop(read(&mut own, &file, &text, whose)),
                Ok(None) => {}
                Err(why) => own.complaints.push(Complaint::of_file(&file, Gravity::Mistake, why)),
            }
        }
        // The first that names keywords counts.
        own.keywords = own.keywords.filter(|_| self.keywords.is_none());
        own.apply_users(environment);
        own.complaints
    }
}

fn read(settings: &mut Settings, file: &Path, text: &[u8], whose: Whose) -> Vec<Said> {
    let mut said = Vec::new();
    for (line, number) in text.split_inclusive(|&octet| octet == b'\n').zip(1..) {
        let ended = line.ends_with(b"\n");
        let octets = line.strip_suffix(b"\n").unwrap_or(line);
        let line = String::from_utf8_lossy(octets);
        let Some((name, value)) = directive(&line) else { continue };
        if whose != Whose::Host && settings.complaints.len() >= MOST_OF_USER {
            let why = "so much is wrong that the rest is not read".into();
            settings.complaints.push(Complaint::of_file(file, Gravity::Mistake, why));
            break;
        }
        let at = |part: &str| Position { line: number, column: column(&line, part) };
        let mut complain = |part: &str, gravity, what: String| {
            let at = Some(at(part));
            settings.complaints.push(Complaint { file: file.into(), at, gravity, what });
        };
        if octets.len() >= MOST_LINE {
            complain(
                name,
                Gravity::Mistake,
                format!("{name}: a line so long ends the file for the original"),
            );
        }
        if !ended {
            complain(
                name,
                Gravity::Mistake,
                format!("{name}: the line has no end, and the original does not obey it"),
            );
        }
        let lower = name.to_ascii_lowercase();
        let is_text = std::str::from_utf8(octets).is_ok();
        let mut reader = Line { value: if is_text { value } else { "" }, wrong: None, fatal: false };
        let known = reader.set(settings, &lower, whose);
        if !is_text {
            reader.wrong = Some("not UTF-8".into());
        }
        if let Some(why) = reader.wrong {
            let gravity = if reader.fatal { Gravity::Fatal } else { Gravity::Mistake };
            let part = if known { value } else { name };
            let at = Some(at(part));
            settings.complaints.push(Complaint {
                file: file.into(),
                at,
                gravity,
                what: format!("{name}: {why}"),
            });
        }
        said.push(Said { file: file.into(), at: at(name), name: lower });
    }
    said
}

/// Returns name and value of `set NAME VALUE`; a part that is missing is empty.
fn directive(line: &str) -> Option<(&str, &str)> {
    let (set, rest) = line.split_once(' ').unwrap_or((line, &line[line.len()..]));
    set.eq_ignore_ascii_case("set").then(|| rest.split_once(' ').unwrap_or((rest, &rest[rest.len()..])))
}

/// Returns the column of a part of a line.
fn column(line: &str, part: &str) -> usize {
    // Both are of the same text.
    let offset = (part.as_ptr() as usize).saturating_sub(line.as_ptr() as usize);
    Position::of(line, offset).column
}

/// Known, and nothing that a server of local mailboxes would obey.
const ELSEWHERE: [&str; 22] = [
    "rsh-command",
    "rsh-path",
    "ssh-command",
    "ssh-path",
    "rsh-timeout",
    "ssh-timeout",
    "tcp-open-timeout",
    "tcp-read-timeout",
    "tcp-write-timeout",
    "maximum-login-trials",
    "lookahead",
    "prefetch",
    "uid-lookahead",
    "close-on-error",
    "imap-port",
    "pop3-port",
    "try-ssl-first",
    "nntp-range",
    "trust-dns",
    "sasl-uses-ptr-name",
    "ca-certificate-path",
    "k5-cp-uses-service-name",
];

/// What is as if these were 0, which says nothing then.
const OFF: [&str; 4] = [
    "disable-fcntl-locking",
    "disable-lock-warning",
    "disable-unix-uids-and-keywords",
    "network-filesystem-stat-bug",
];

/// What a user's own file may say.
const USERS: [&str; 14] = [
    "new-mailbox-format",
    "new-folder-format",
    "empty-mailbox-format",
    "empty-folder-format",
    "keywords",
    "from-widget",
    "hide-dot-files",
    "list-maximum-level",
    "mail-subdirectory",
    "mh-path",
    "mh-allow-inbox",
    "news-state-file",
    "mailbox-protection",
    "directory-protection",
];

/// What the host's file alone may say.
const HOSTS: [&str; 28] = [
    "anonymous-home-directory",
    "disable-plaintext",
    "plaintext-allowed-clients",
    "allowed-login-attempts",
    "allow-reverse-dns",
    "allow-user-config",
    "local-host",
    "system-inbox",
    "black-box-directory",
    "black-box-default-home-directory",
    "chroot-server",
    "restrict-mailbox-access",
    "advertise-the-world",
    "limited-advertise",
    "disable-automatic-shared-namespaces",
    "dot-lock-file-timeout",
    "ftp-export-directory",
    "public-home-directory",
    "shared-home-directory",
    "news-active-file",
    "news-spool-directory",
    "lock-protection",
    "ftp-protection",
    "ftp-directory-protection",
    "public-protection",
    "public-directory-protection",
    "shared-protection",
    "shared-directory-protection",
];

fn names() -> impl Iterator<Item = &'static str> {
    HOSTS.into_iter().chain(USERS).chain(OFF).chain(ELSEWHERE)
}

fn mode_named(name: &str) -> Option<Mode> {
    Some(match name {
        "mailbox-protection" => Mode::Mailbox,
        "directory-protection" => Mode::Directory,
        "lock-protection" => Mode::Lock,
        "ftp-protection" => Mode::Ftp,
        "ftp-directory-protection" => Mode::FtpDirectory,
        "public-protection" => Mode::Public,
        "public-directory-protection" => Mode::PublicDirectory,
        "shared-protection" => Mode::Shared,
        "shared-directory-protection" => Mode::SharedDirectory,
        _ => return None,
    })
}

/// The value of one line, and what is wrong with it.
struct Line<'l> {
    value: &'l str,
    wrong: Option<String>,
    fatal: bool,
}

impl Line<'_> {
    /// Obeys the line; returns whether its name is known here.
    fn set(&mut self, settings: &mut Settings, name: &str, whose: Whose) -> bool {
        if !names().any(|known| known == name) {
            let near = near::suggestion(name, names());
            self.wrong = Some(format!("not known or not supported{near}"));
            return false;
        }
        if ELSEWHERE.contains(&name) {
            return true;
        }
        let allowed = match whose {
            Whose::Host => true,
            Whose::User => USERS.contains(&name),
            Whose::UserKeywords => name == "keywords",
        };
        if !allowed {
            self.wrong = Some("the host's to set, not a user's".into());
            return false;
        }
        if self.value.ends_with('\r') {
            self.wrong =
                Some("a carriage return belongs to the value: save the file with Unix line ends".into());
        }
        if OFF.contains(&name) {
            if self.flag(false) {
                self.wrong = Some("not supported".into());
            }
        } else if let Some(mode) = mode_named(name) {
            settings.modes[mode as usize] = Some(self.mode(mode));
        } else if !self.set_server(settings, name)
            && !self.set_place(settings, name)
            && !self.set_other_formats(settings, name, whose)
        {
            self.set_mailboxes(settings, name);
        }
        true
    }

    fn set_server(&mut self, settings: &mut Settings, name: &str) -> bool {
        match name {
            "disable-plaintext" => {
                settings.plaintext = Some(match self.number(1) {
                    0 => Plaintext::Allowed,
                    2 => Plaintext::OnlyTls,
                    _ => Plaintext::Never,
                });
            }
            "plaintext-allowed-clients" => settings.plaintext_clients.extend(list(self.value)),
            "allowed-login-attempts" => settings.login_attempts = Some(self.number(1)),
            "allow-reverse-dns" => settings.reverse_dns = Some(self.flag(true)),
            "allow-user-config" => settings.user_config = Some(self.flag(false)),
            "local-host" => settings.host_name = self.take(host_name(self.value)),
            "advertise-the-world" if self.flag(false) => settings.advertise = Some(Advertise::World),
            "limited-advertise" if self.flag(true) => settings.advertise = Some(Advertise::Limited),
            "advertise-the-world" | "limited-advertise" => {}
            "anonymous-home-directory" => settings.anonymous_home = self.take(absolute(self.value)),
            "dot-lock-file-timeout" => settings.dot_lock_timeout = self.minutes(),
            _ => return false,
        }
        true
    }

    fn set_place(&mut self, settings: &mut Settings, name: &str) -> bool {
        match name {
            "system-inbox" => settings.spool = self.take(absolute(self.value)).map(Spool::Fixed),
            // The original puts it behind the home directory and a slash, whatever it starts with.
            "mail-subdirectory" => {
                settings.subdirectory = self.take(relative(self.value.trim_start_matches('/')));
            }
            "black-box-directory" if settings.black_box.is_none() => {
                settings.black_box = self.take(absolute(self.value));
                self.fatal = settings.black_box.is_none();
            }
            "black-box-default-home-directory" if settings.black_box_default.is_none() => {
                settings.black_box_default = self.take(absolute(self.value));
            }
            "black-box-directory" | "black-box-default-home-directory" => {}
            "chroot-server" => settings.closed_box = Some(self.flag(true)),
            "restrict-mailbox-access" => {
                let (before, more) = (settings.restrictions.unwrap_or_default(), self.restrictions());
                settings.restrictions = Some(before.and(more));
            }
            "disable-automatic-shared-namespaces" => settings.automatic = Some(!self.flag(true)),
            "ftp-export-directory" => settings.homes[Space::Ftp as usize] = Some(self.home()),
            "public-home-directory" => settings.homes[Space::Public as usize] = Some(self.home()),
            "shared-home-directory" => settings.homes[Space::Shared as usize] = Some(self.home()),
            _ => return false,
        }
        true
    }

    /// What mh and news need to know. A user's own paths stay below the home.
    fn set_other_formats(&mut self, settings: &mut Settings, name: &str, whose: Whose) -> bool {
        let path = if whose == Whose::Host { absolute_or_relative } else { relative };
        match name {
            "mh-path" => settings.mh_path = self.take(path(self.value)),
            "mh-allow-inbox" => settings.mh_inbox = Some(self.flag(false)),
            "news-active-file" => settings.news_active = self.take(absolute(self.value)),
            "news-spool-directory" => settings.news_spool = self.take(absolute(self.value)),
            "news-state-file" => settings.news_state = self.take(path(self.value)),
            _ => return false,
        }
        true
    }

    fn set_mailboxes(&mut self, settings: &mut Settings, name: &str) {
        match name {
            "new-mailbox-format" | "new-folder-format" => settings.create_format = self.format(),
            "empty-mailbox-format" | "empty-folder-format" if self.value == "invalid" => {
                settings.empty_format = Some(None);
            }
            "empty-mailbox-format" | "empty-folder-format" => settings.empty_format = self.format().map(Some),
            "keywords" => self.keywords(settings),
            "from-widget" => settings.header_only = Some(self.value == "header-only"),
            "hide-dot-files" => settings.hide_dot_files = Some(self.flag(true)),
            "list-maximum-level" => {
                let number = self.take(number(self.value));
                settings.list_depth = number.map(|number| usize::try_from(number).unwrap_or(usize::MAX));
            }
            _ => self.wrong = Some("not known or not supported".into()),
        }
    }

    /// Returns the value unless it is wrong.
    fn take<T>(&mut self, value: Result<T, String>) -> Option<T> {
        value.map_err(|why| self.wrong = Some(why)).ok()
    }

    /// Returns the number, or what is strict if it is none.
    fn number(&mut self, strict: u32) -> u32 {
        self.take(number(self.value)).unwrap_or(strict)
    }

    /// As [`Line::number`]; everything but 0 is true.
    fn flag(&mut self, strict: bool) -> bool {
        self.number(u32::from(strict)) != 0
    }

    /// A mode in decimal. One that is wrong is the strictest; that of lock files keeps nothing secret, and locks must be
    /// everybody's, so that it stays what it is by default.
    fn mode(&mut self, mode: Mode) -> u32 {
        let strict = if mode == Mode::Lock { 0o666 } else { mode.least() };
        let Some(number) = self.take(number(self.value)) else { return strict };
        let meant = u32::from_str_radix(self.value.trim(), 8).ok().filter(|octal| mode.check(*octal).is_ok());
        let checked = mode.check(number).map_err(|why| match meant {
            Some(meant) => format!("{why} (modes are decimal here: octal {meant:o} is {meant})"),
            None => why,
        });
        self.take(checked).unwrap_or(strict)
    }

    fn minutes(&mut self) -> Option<u32> {
        let minutes = self.take(number(self.value))?;
        if minutes == 0 {
            self.wrong = Some("no lock would ever be waited for".into());
            return None;
        }
        Some(minutes.saturating_mul(60))
    }

    fn home(&mut self) -> Option<PathBuf> {
        self.take(absolute(self.value))
    }

    fn restrictions(&mut self) -> Restrictions {
        let words = list(self.value);
        if words.is_empty() {
            self.wrong = Some("there is no value (all is taken)".into());
            return Restrictions::all();
        }
        let is = |word: &str, known: &str| word.eq_ignore_ascii_case(known);
        if let Some(unknown) =
            words.iter().find(|word| !["root", "otherusers", "all"].iter().any(|known| is(word, known)))
        {
            self.wrong = Some(format!("not one of root, otherusers, all: {unknown} (all is taken)"));
            return Restrictions::all();
        }
        let has = |word: &str| words.iter().any(|known| is(known, word) || is(known, "all"));
        Restrictions { no_root: has("root"), no_other_users: has("otherusers"), no_dots: true }
    }

    fn format(&mut self) -> Option<&'static str> {
        match self.value {
            "system-standard" | "mbox" => Some("unix"),
            value => self.take(format(value)),
        }
    }

    fn keywords(&mut self, settings: &mut Settings) {
        const MOST: usize = super::MOST_KEYWORDS;
        if settings.keywords.is_some() {
            return;
        }
        let words = list(self.value);
        if words.len() > MOST {
            self.wrong = Some(format!("more than {MOST} keywords"));
        }
        let mut taken = Vec::new();
        for keyword in words.iter().take(MOST).filter_map(|word| self.take(keyword(word))) {
            if !taken.contains(&keyword) {
                taken.push(keyword);
            }
        }
        settings.keywords = Some(taken);
    }
}

/// COMPAT(c-client): `nil` is 0.
fn number(value: &str) -> Result<u32, String> {
    match value.trim() {
        nil if nil.eq_ignore_ascii_case("nil") => Ok(0),
        "" => Err("there is no value".into()),
        value => value.parse().map_err(|_| format!("not a decimal number: {value}")),
    }
}

fn list(value: &str) -> Vec<String> {
    value.split([',', ' ', '\r']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}
