//! `/etc/c-client.cf`: the one configuration file of the original, for hosts that have it (spec/auth.md §9).
//!
//! Lines of the form `set NAME VALUE`, single spaces between, the name in any letter case; anything else is a comment.
//! A line ends with LF and has fewer than 1023 octets; reading ends at the first that does not. What concerns
//! clients, other formats or other programs is left alone; what we should obey and do not is reported by
//! [`Settings::complaints`].

use crate::transport::io_text;
use ailurus_server::Plaintext;
use ailurus_store::{Advertise, Environment, Mode, Restrictions, SharedHomes};
use ailurus_types::Keyword;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

/// Where the file is.
pub const CONFIG_FILE: &str = "/etc/c-client.cf";

/// What the file says; everything that it does not name is as without it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Settings {
    /// Whether passwords may be sent in the clear.
    pub plaintext: Option<Plaintext>,
    /// Clients (names or addresses) that may send passwords in the clear all the same.
    pub plaintext_clients: Vec<String>,
    /// How many logins may be tried.
    pub login_attempts: Option<u32>,
    /// False: addresses are not looked up.
    pub reverse_dns: Option<bool>,
    /// The name of this host.
    pub local_host: Option<String>,
    /// Lines that are not obeyed though they should be: number (0: all of the file) and reason.
    pub complaints: Vec<(usize, String)>,
    mailboxes: MailboxSettings,
}

/// What changes the surroundings of a user's mailboxes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct MailboxSettings {
    system_inbox: Option<PathBuf>,
    mail_subdirectory: Option<PathBuf>,
    black_box: Option<PathBuf>,
    restrictions: Option<Restrictions>,
    create_format: Option<&'static str>,
    empty_format: Option<Option<&'static str>>,
    keywords: Option<Vec<Keyword>>,
    header_only: Option<bool>,
    hide_dot_files: Option<bool>,
    list_depth: Option<usize>,
    dot_lock_timeout: Option<u32>,
    advertise: Option<Advertise>,
    no_shared: bool,
    homes: [Option<PathBuf>; 3],
    modes: Vec<(&'static str, u32)>,
    mh_path: Option<PathBuf>,
    mh_allow_inbox: Option<bool>,
    news_active: Option<PathBuf>,
    news_spool: Option<PathBuf>,
    news_state: Option<PathBuf>,
}

const MOST_LINE: usize = 1023;
const MOST_KEYWORDS: usize = 30;
const MOST_KEYWORD: usize = 50;
const MODES: [&str; 9] = [
    "mailbox-protection",
    "directory-protection",
    "lock-protection",
    "ftp-protection",
    "ftp-directory-protection",
    "public-protection",
    "public-directory-protection",
    "shared-protection",
    "shared-directory-protection",
];
const HOMES: [&str; 3] = ["ftp-export-directory", "public-home-directory", "shared-home-directory"];
/// Known, and nothing that a server of local mailboxes would obey.
const ELSEWHERE: [&str; 23] = [
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
    "anonymous-home-directory",
    "ca-certificate-path",
    "k5-cp-uses-service-name",
];

/// What is as if these were 0, which says nothing then.
const OFF: [&str; 7] = [
    "advertise-the-world",
    "allow-user-config",
    "disable-fcntl-locking",
    "disable-lock-warning",
    "disable-unix-uids-and-keywords",
    "limited-advertise",
    "network-filesystem-stat-bug",
];

impl Settings {
    /// Reads the file; where there is none, nothing is set. One that cannot be read is a complaint.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        match std::fs::read(path) {
            Ok(text) => Self::parse(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::default(),
            Err(error) => {
                let why = format!("cannot be read: {}", io_text(&error));
                Self { complaints: vec![(0, why)], ..Self::default() }
            }
        }
    }

    /// Returns the complaints as lines that say where.
    pub fn complaint_lines(&self) -> impl Iterator<Item = String> {
        self.complaints.iter().map(|(line, why)| match line {
            0 => format!("{CONFIG_FILE}: {why}"),
            line => format!("{CONFIG_FILE} line {line}: {why}"),
        })
    }

    /// Reads the octets of the file.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        let mut settings = Self::default();
        for (line, number) in text.split_inclusive(|&octet| octet == b'\n').zip(1..) {
            let Some(line) = line.strip_suffix(b"\n").filter(|line| line.len() < MOST_LINE) else {
                settings
                    .complaints
                    .push((number, "too long or without an end: not read, nor what follows".into()));
                break;
            };
            let line = String::from_utf8_lossy(line);
            let mut words = line.splitn(3, ' ');
            let is_set = words.next().is_some_and(|word| word.eq_ignore_ascii_case("set"));
            if let (true, Some(name), Some(value)) = (is_set, words.next(), words.next())
                && let Err(why) = settings.set(&name.to_ascii_lowercase(), value)
            {
                settings.complaints.push((number, format!("{name}: {why}")));
            }
        }
        settings
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let boxes = &mut self.mailboxes;
        match name {
            "disable-plaintext" => {
                self.plaintext = Some(match number(value)? {
                    0 => Plaintext::Allowed,
                    2 => Plaintext::OnlyTls,
                    _ => Plaintext::Never,
                });
            }
            "plaintext-allowed-clients" => self.plaintext_clients = list(value),
            "allowed-login-attempts" => self.login_attempts = Some(number(value)?),
            "allow-reverse-dns" => self.reverse_dns = Some(number(value)? != 0),
            "local-host" => self.local_host = Some(value.into()),
            "system-inbox" => boxes.system_inbox = Some(value.into()),
            "mail-subdirectory" => boxes.mail_subdirectory = Some(value.into()),
            "black-box-directory" => boxes.black_box = Some(value.into()),
            "restrict-mailbox-access" => boxes.restrictions = Some(restrictions(value)),
            // The recommended answer to the same wish (FAQ 5.1); a promise to confine is never just dropped.
            "chroot-server" if number(value)? != 0 => {
                boxes.restrictions = Some(Restrictions::all());
                return Err(
                    "there is no chroot: mailbox names are restricted to the home directory instead".into()
                );
            }
            "chroot-server" => {}
            "new-mailbox-format" | "new-folder-format" => boxes.create_format = Some(format(value)?),
            "empty-mailbox-format" | "empty-folder-format" if value == "invalid" => {
                boxes.empty_format = Some(None);
            }
            "empty-mailbox-format" | "empty-folder-format" => boxes.empty_format = Some(Some(format(value)?)),
            "keywords" => {
                boxes.keywords.get_or_insert_with(|| keywords(value));
            }
            "from-widget" => boxes.header_only = Some(value == "header-only"),
            "hide-dot-files" => boxes.hide_dot_files = Some(number(value)? != 0),
            "list-maximum-level" => {
                boxes.list_depth = Some(usize::try_from(number(value)?).unwrap_or(usize::MAX));
            }
            "mh-path" => boxes.mh_path = Some(value.into()),
            "mh-allow-inbox" => boxes.mh_allow_inbox = Some(number(value)? != 0),
            "news-active-file" => boxes.news_active = Some(value.into()),
            "news-spool-directory" => boxes.news_spool = Some(value.into()),
            "news-state-file" => boxes.news_state = Some(value.into()),
            "advertise-the-world" if number(value)? != 0 => boxes.advertise = Some(Advertise::World),
            "limited-advertise" if number(value)? != 0 => boxes.advertise = Some(Advertise::Limited),
            "disable-automatic-shared-namespaces" => boxes.no_shared = number(value)? != 0,
            "dot-lock-file-timeout" => boxes.dot_lock_timeout = Some(number(value)?.saturating_mul(60)),
            _ => return self.set_other(name, value),
        }
        Ok(())
    }

    fn set_other(&mut self, name: &str, value: &str) -> Result<(), String> {
        if let Some(which) = HOMES.iter().position(|&home| home == name) {
            self.mailboxes.homes[which] = Some(value.into());
        } else if let Some(mode) = MODES.into_iter().find(|&mode| mode == name) {
            self.mailboxes.modes.push((mode, number(value)?));
        } else if OFF.contains(&name) {
            if number(value)? != 0 {
                return Err("not supported".into());
            }
        } else if !ELSEWHERE.contains(&name) {
            return Err("not known or not supported".into());
        }
        Ok(())
    }

    /// Returns whether a client may send its password in the clear, if the file has something to say about it.
    #[must_use]
    pub fn plaintext_for(&self, client: Option<IpAddr>) -> Option<Plaintext> {
        let listed = |client: IpAddr| self.plaintext_clients.iter().any(|name| names_client(name, client));
        if client.is_some_and(listed) { Some(Plaintext::Allowed) } else { self.plaintext }
    }

    /// Changes the surroundings of a user's mailboxes as the file says.
    ///
    /// # Errors
    ///
    /// The user's directory of a black box does not exist: the user has no mailboxes then, instead of the wrong ones.
    pub fn apply(&self, environment: &mut Environment) -> Result<(), String> {
        let boxes = &self.mailboxes;
        if let Some(black_box) = &boxes.black_box {
            let home = black_box.join(&environment.user);
            if !home.is_dir() {
                return Err(format!("no such black box directory: {}", home.display()));
            }
            environment.mode = Mode::BlackBox(black_box.clone());
            environment.mailbox_dir.clone_from(&home);
            environment.home = home;
        }
        if let Some(directory) = &boxes.mail_subdirectory {
            environment.mailbox_dir = environment.home.join(directory);
            environment.mail_subdirectory = Some(directory.clone());
        }
        set_path(&mut environment.spool, &boxes.system_inbox);
        set(&mut environment.restrictions, boxes.restrictions);
        set(&mut environment.create_format, boxes.create_format);
        set(&mut environment.empty_format, boxes.empty_format);
        set(&mut environment.default_keywords, boxes.keywords.clone());
        set(&mut environment.from_widget_header_only, boxes.header_only);
        set(&mut environment.hide_dot_files, boxes.hide_dot_files);
        set(&mut environment.list_depth, boxes.list_depth);
        set(&mut environment.dot_lock_timeout, boxes.dot_lock_timeout);
        set(&mut environment.mh_path, boxes.mh_path.clone().map(Some));
        set(&mut environment.mh_allow_inbox, boxes.mh_allow_inbox);
        set_path(&mut environment.news.active, &boxes.news_active);
        set_path(&mut environment.news.spool, &boxes.news_spool);
        set(&mut environment.news.state, boxes.news_state.clone().map(Some));
        set(&mut environment.advertise, boxes.advertise);
        if boxes.no_shared {
            environment.shared = SharedHomes::default();
        }
        let [ftp, public, shared] = &boxes.homes;
        for (target, home) in [
            (&mut environment.shared.ftp, ftp),
            (&mut environment.shared.public, public),
            (&mut environment.shared.shared, shared),
        ] {
            if home.is_some() {
                target.clone_from(home);
            }
        }
        self.apply_modes(environment);
        Ok(())
    }

    fn apply_modes(&self, environment: &mut Environment) {
        let modes = &mut environment.protections;
        for &(name, mode) in &self.mailboxes.modes {
            let target = match name {
                "mailbox-protection" => &mut modes.mailbox,
                "directory-protection" => &mut modes.directory,
                "lock-protection" => &mut modes.lock,
                "ftp-protection" => &mut modes.ftp.0,
                "ftp-directory-protection" => &mut modes.ftp.1,
                "public-protection" => &mut modes.public.0,
                "public-directory-protection" => &mut modes.public.1,
                "shared-protection" => &mut modes.shared.0,
                _ => &mut modes.shared.1,
            };
            *target = mode & 0o7777;
        }
    }
}

fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

fn set_path(target: &mut PathBuf, value: &Option<PathBuf>) {
    if let Some(value) = value {
        target.clone_from(value);
    }
}

fn number(value: &str) -> Result<u32, String> {
    value.trim().parse().map_err(|_| format!("not a decimal number: {value}"))
}

fn list(value: &str) -> Vec<String> {
    value.split([',', ' ']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn format(value: &str) -> Result<&'static str, String> {
    if value == "system-standard" {
        return Ok("unix");
    }
    let known = ailurus_formats::CREATABLE.into_iter().find(|&known| known == value);
    known.ok_or_else(|| format!("unknown mailbox format: {value}"))
}

fn restrictions(value: &str) -> Restrictions {
    let words = list(value);
    let has = |word: &str| words.iter().any(|known| known == word || known == "all");
    Restrictions { no_root: has("root"), no_other_users: has("otherusers"), no_dots: true }
}

fn keywords(value: &str) -> Vec<Keyword> {
    let short = |word: &String| word.len() <= MOST_KEYWORD;
    let parsed = list(value).into_iter().filter(short).filter_map(|word| Keyword::new(word.as_bytes()));
    parsed.take(MOST_KEYWORDS).collect()
}

fn names_client(name: &str, client: IpAddr) -> bool {
    match name.parse::<IpAddr>() {
        Ok(address) => address == client,
        Err(_) => (name, 0).to_socket_addrs().is_ok_and(|mut found| found.any(|a| a.ip() == client)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ailurus_store::News;

    fn environment(settings: &Settings) -> Environment {
        let mut environment =
            Environment::new("ada", "/home/ada".into(), "/var/mail/ada".into(), "mail.example");
        settings.apply(&mut environment).expect("no black box");
        environment
    }

    #[test]
    fn settings_change_the_surroundings() {
        let text = b"I accept the risk\n\
            set disable-plaintext 2\n\
            SET Mail-Subdirectory mail\n\
            set new-mailbox-format mbx\n\
            set empty-mailbox-format invalid\n\
            set mailbox-protection 416\n\
            set restrict-mailbox-access root\n\
            set keywords Work, Home\n\
            set keywords Late\n\
            set dot-lock-file-timeout 2\n\
            set lookahead 99\n\
            set mh-path /home/ada/MH\n\
            set mh-allow-inbox 1\n\
            set news-spool-directory /news\n\
            set allow-user-config 0\n\
            set limited-advertise 1\n\
            set hide-dot-files 1\n";
        let settings = Settings::parse(text);
        assert_eq!(settings.complaints, []);
        assert_eq!(settings.plaintext_for(None), Some(Plaintext::OnlyTls));
        let environment = environment(&settings);
        assert_eq!(environment.mailbox_dir, Path::new("/home/ada/mail"));
        assert_eq!(environment.mail_subdirectory.as_deref(), Some(Path::new("mail")), "of other users too");
        assert_eq!(environment.advertise, Advertise::Limited);
        assert_eq!((environment.create_format, environment.empty_format), ("mbx", None));
        assert_eq!(environment.protections.mailbox, 0o640);
        let expected = Restrictions { no_root: true, no_other_users: false, no_dots: true };
        assert_eq!(environment.restrictions, expected);
        assert_eq!(environment.default_keywords.len(), 2);
        assert_eq!(environment.dot_lock_timeout, 120);
        assert!(environment.hide_dot_files);
        assert_eq!(environment.mh_path.as_deref(), Some(Path::new("/home/ada/MH")));
        assert!(environment.mh_allow_inbox);
        let news = News { spool: "/news".into(), ..News::default() };
        assert_eq!(environment.news, news);
    }

    #[test]
    fn what_is_not_obeyed_is_said() {
        let settings = Settings::parse(
            b"set chroot-server 1\nset new-mailbox-format maildir\nset frobnicate 3\nset allow-user-config 1\nset keywords x",
        );
        let lines: Vec<_> = settings.complaints.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [1, 2, 3, 4, 5], "{:?}", settings.complaints);
        let said: Vec<_> = settings.complaint_lines().collect();
        assert_eq!(said[3], "/etc/c-client.cf line 4: allow-user-config: not supported");
        assert_eq!(environment(&settings).restrictions, Restrictions::all());
        assert!(environment(&settings).default_keywords.is_empty(), "the last line has no end");
    }

    #[test]
    fn listed_clients_may_send_passwords() {
        let settings =
            Settings::parse(b"set disable-plaintext 1\nset plaintext-allowed-clients 192.0.2.7, localhost\n");
        let client = |text: &str| settings.plaintext_for(Some(text.parse().expect("an address")));
        assert_eq!(client("192.0.2.7"), Some(Plaintext::Allowed));
        assert_eq!(client("127.0.0.1"), Some(Plaintext::Allowed));
        assert_eq!(client("192.0.2.8"), Some(Plaintext::Never));
    }

    #[test]
    fn a_black_box_must_exist() {
        let scratch = tempfile::tempdir().expect("a directory");
        let text = format!("set black-box-directory {}\n", scratch.path().display());
        let settings = Settings::parse(text.as_bytes());
        let mut environment = Environment::new("ada", "/home/ada".into(), "/var/mail/ada".into(), "h");
        assert!(settings.apply(&mut environment).is_err());
        std::fs::create_dir(scratch.path().join("ada")).expect("ours");
        settings.apply(&mut environment).expect("there now");
        assert_eq!(environment.home, scratch.path().join("ada"));
    }
}
