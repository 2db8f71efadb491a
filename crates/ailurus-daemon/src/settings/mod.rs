//! The settings of a host: a small `/etc/ailurus.toml`, and the original's `/etc/c-client.cf` for hosts that have it. No
//! file is needed.
//!
//! [`Settings`] is what both say. The `cf` module reads the original's syntax (spec/auth.md §9), `toml` ours, whose keys are
//! declared in `keys`, man page and example file included; `apply` changes the surroundings of a user's mailboxes.
//!
//! * Where both files say something about the same matter, `/etc/ailurus.toml` counts, and `ailurus check` tells of it.
//! * All mistakes of all files are found at once, each with its line and column.
//! * A mistake never makes the server laxer than was meant. `/etc/ailurus.toml` is understood as a whole: with any mistake in
//!   it nobody is served until it is mended ([`Settings::refusal`]). `/etc/c-client.cf` is read as the original reads it, which
//!   passes over what it does not know: what cannot be understood there is told, and a setting that protects falls to its
//!   strict side.
//! * `~/.imaprc` is read after login with the user's rights, where the host allows it, and only for what is the user's own
//!   business ([`Settings::read_users`]).

mod apply;
mod cf;
mod complaint;
mod document;
mod keys;
mod near;
mod spool;
mod toml;

#[cfg(test)]
mod tests;

pub use apply::Confinement;
pub use complaint::{Complaint, Gravity};
pub use document::{example, man_page};
pub use spool::Spool;

use crate::client_certificate::CertificateUser;
use crate::protocol::{Listening, Wanted};
use ailurus_server::{Plaintext, Referrals};
use ailurus_store::{Advertise, Restrictions};
use ailurus_sys::syslog::Facility;
use ailurus_types::Keyword;
use std::io::Read;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

/// More of a file is not read, in octets.
const MOST_OCTETS: u64 = 1 << 20;

/// Where the files are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Files {
    /// Ours.
    pub toml: PathBuf,
    /// The original's.
    pub cf: PathBuf,
}

impl Files {
    /// Returns those of this host.
    #[must_use]
    pub fn of_host() -> Self {
        Self { toml: "/etc/ailurus.toml".into(), cf: "/etc/c-client.cf".into() }
    }
}

/// What the files say; everything that they do not name is as without them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Settings {
    /// Whether passwords may be sent in the clear.
    pub plaintext: Option<Plaintext>,
    /// Clients (names or addresses) that may send passwords in the clear all the same.
    pub plaintext_clients: Vec<String>,
    /// What `ailurus serve` listens for.
    pub protocols: Option<Vec<Wanted>>,
    /// How many logins may be tried.
    pub login_attempts: Option<u32>,
    /// False: addresses are not looked up.
    pub reverse_dns: Option<bool>,
    /// How many sessions there may be at a time.
    pub sessions: Option<u32>,
    /// How many of them from one address.
    pub sessions_of_address: Option<u32>,
    /// How many of them of one user.
    pub sessions_of_user: Option<u32>,
    /// Addresses behind which are many users.
    pub trusted_clients: Option<Vec<IpAddr>>,
    /// The file of those who certify users.
    pub client_ca: Option<PathBuf>,
    /// Which user a certificate is of.
    pub certificate_user: Option<CertificateUser>,
    /// The home of the anonymous user.
    pub anonymous_home: Option<PathBuf>,
    /// The facility of the log lines about mail.
    pub log_facility: Option<Facility>,
    /// False: clients are not told that they ask for the STATUS of the selected mailbox.
    pub status_warning: Option<bool>,
    /// The name of this host.
    pub host_name: Option<String>,
    /// Whether users' own files are read.
    pub user_config: Option<bool>,
    /// Where new mail is.
    pub spool: Option<Spool>,
    /// Who and what has moved to other servers.
    pub referrals: Referrals,
    /// What is wrong with the files.
    pub complaints: Vec<Complaint>,
    subdirectory: Option<PathBuf>,
    closed_box: Option<bool>,
    black_box: Option<PathBuf>,
    black_box_default: Option<PathBuf>,
    restrictions: Option<Restrictions>,
    create_format: Option<&'static str>,
    empty_format: Option<Option<&'static str>>,
    keywords: Option<Vec<Keyword>>,
    header_only: Option<bool>,
    hide_dot_files: Option<bool>,
    list_depth: Option<usize>,
    dot_lock_timeout: Option<u32>,
    /// Where mh folders are: below the home, or starting at the root.
    mh_path: Option<PathBuf>,
    mh_inbox: Option<bool>,
    mbox_inbox: Option<bool>,
    news_active: Option<PathBuf>,
    news_spool: Option<PathBuf>,
    /// As `mh_path`.
    news_state: Option<PathBuf>,
    advertise: Option<Advertise>,
    /// False: only those shared namespaces that have a home here.
    automatic: Option<bool>,
    /// Homes of the shared namespaces, in the order of [`Space`]; `Some(None)`: there is none.
    homes: [Option<Option<PathBuf>>; 3],
    modes: [Option<u32>; Mode::ALL.len()],
}

/// The shared namespaces.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Space {
    Ftp,
    Public,
    Shared,
}

/// What has a mode of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mode {
    Mailbox,
    Directory,
    Lock,
    Ftp,
    FtpDirectory,
    Public,
    PublicDirectory,
    Shared,
    SharedDirectory,
}

impl Mode {
    const ALL: [Self; 9] = [
        Self::Mailbox,
        Self::Directory,
        Self::Lock,
        Self::Ftp,
        Self::FtpDirectory,
        Self::Public,
        Self::PublicDirectory,
        Self::Shared,
        Self::SharedDirectory,
    ];

    /// Returns what the owner must be let do: the strictest mode that is of use.
    const fn least(self) -> u32 {
        match self {
            Self::Directory | Self::FtpDirectory | Self::PublicDirectory | Self::SharedDirectory => 0o700,
            Self::Mailbox | Self::Lock | Self::Ftp | Self::Public | Self::Shared => 0o600,
        }
    }

    /// Checks a mode.
    fn check(self, mode: u32) -> Result<u32, String> {
        let least = self.least();
        if mode > 0o7777 || mode & least != least {
            return Err(format!("the mode {mode:04o} keeps the owner out, who needs {least:04o} at least"));
        }
        Ok(mode)
    }
}

impl Settings {
    /// Returns what `ailurus serve` listens for.
    #[must_use]
    pub fn protocols(&self) -> Vec<Wanted> {
        let usual = || Listening::ALL[..Listening::USUAL].iter();
        let usual = || usual().map(|&listening| Wanted { listening, port: None }).collect();
        self.protocols.clone().unwrap_or_else(usual)
    }

    /// Reads both files; where there is none, nothing is set. What cannot be read or understood is a complaint.
    #[must_use]
    pub fn read(files: &Files) -> Self {
        let mut settings = Self::default();
        let mut said = Vec::new();
        match read_file(&files.cf, None) {
            Ok(Some(text)) => said = cf::read_host(&mut settings, &files.cf, &text),
            Ok(None) => {}
            Err(why) => {
                cf::be_strict(&mut settings);
                settings.complaints.push(Complaint::of_file(&files.cf, Gravity::Mistake, why));
            }
        }
        let before = settings.clone();
        match read_file(&files.toml, None) {
            Ok(Some(text)) => toml::read(&mut settings, &files.toml, &text, &said),
            Ok(None) => {}
            Err(why) => settings.complaints.push(Complaint::of_file(&files.toml, Gravity::Fatal, why)),
        }
        let ours = settings.boxes() != before.boxes();
        settings.check_boxes(if ours { &files.toml } else { &files.cf });
        settings
    }

    /// Returns the settings of a sample, whatever the host's are: newsgroups are in `news`, with their list.
    #[must_use]
    pub fn of_sample(news: &Path) -> Self {
        Self { news_active: Some(news.join("active")), news_spool: Some(news.into()), ..Self::default() }
    }

    /// Returns why nobody is served with these settings, if that is so.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let fatal = self.complaints.iter().find(|complaint| complaint.gravity == Gravity::Fatal)?;
        Some(format!("nobody is served until {} is mended", fatal.file.display()))
    }

    /// Returns the complaints that are no mere notes, for the log.
    pub fn mistakes(&self) -> impl Iterator<Item = &Complaint> {
        self.complaints.iter().filter(|complaint| complaint.gravity != Gravity::Note)
    }

    /// Returns whether a client may send its password in the clear, if the settings have something to say about it.
    #[must_use]
    pub fn plaintext_for(&self, client: Option<IpAddr>) -> Option<Plaintext> {
        let listed = |client: IpAddr| self.plaintext_clients.iter().any(|name| names_client(name, client));
        if client.is_some_and(listed) { Some(Plaintext::Allowed) } else { self.plaintext }
    }

    /// Tells whether a client has many users behind it. Without a word of the settings, this host's own programs have.
    #[must_use]
    pub fn trusts(&self, client: IpAddr) -> bool {
        match &self.trusted_clients {
            Some(trusted) => trusted.iter().any(|address| address.to_canonical() == client),
            None => [IpAddr::from([127, 0, 0, 1]), std::net::Ipv6Addr::LOCALHOST.into()].contains(&client),
        }
    }

    /// Returns the file that is INBOX if it is there and a traditional mailbox.
    #[must_use]
    pub fn mbox_inbox(&self, home: &Path) -> Option<PathBuf> {
        let boxed = self.closed_box == Some(true) || self.black_box.is_some();
        let directory = self.subdirectory.as_ref().map_or_else(|| home.into(), |below| home.join(below));
        (!boxed && self.mbox_inbox != Some(false)).then(|| directory.join("mbox"))
    }

    fn boxes(&self) -> impl Eq {
        (self.closed_box, &self.black_box, &self.black_box_default, &self.spool)
    }

    /// What contradicts itself across lines and files.
    fn check_boxes(&mut self, file: &Path) {
        let mut complain =
            |gravity, text: &str| self.complaints.push(Complaint::of_file(file, gravity, text.into()));
        if self.closed_box == Some(true) && self.black_box.is_some() {
            complain(Gravity::Fatal, "a closed box (chroot) and a black box exclude each other");
        }
        if self.black_box_default.is_some() && self.black_box.is_none() {
            complain(Gravity::Note, "there is a default home of a black box, but no black box");
        }
        if self.spool.is_some() && (self.black_box.is_some() || self.closed_box == Some(true)) {
            complain(
                Gravity::Note,
                "in a black or closed box INBOX is a file of the box: the spool has no say",
            );
        }
    }
}

/// Returns the octets of a file, if it exists. It must belong to the owner, where one is given.
fn read_file(path: &Path, owner: Option<u32>) -> Result<Option<Vec<u8>>, String> {
    use std::os::unix::fs::MetadataExt;
    let cannot = |error: std::io::Error| format!("cannot be read: {}", crate::transport::io_text(&error));
    let file = match open_without_waiting(path) {
        Ok(file) => file,
        // A link to what is not there (a volume that is not mounted) says that settings were meant.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && path.symlink_metadata().is_err() => {
            return Ok(None);
        }
        Err(error) => return Err(cannot(error)),
    };
    let metadata = file.metadata().map_err(cannot)?;
    if !metadata.is_file() {
        return Err("cannot be read: not a file".into());
    }
    if owner.is_some_and(|owner| owner != metadata.uid()) {
        return Err("not read: it belongs to somebody else".into());
    }
    let mut text = Vec::new();
    file.take(MOST_OCTETS + 1).read_to_end(&mut text).map_err(cannot)?;
    if text.len() as u64 > MOST_OCTETS {
        return Err("cannot be read: too large".into());
    }
    Ok(Some(text))
}

/// Opens a file that may be a FIFO or a device, which is not waited for.
fn open_without_waiting(path: &Path) -> std::io::Result<std::fs::File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

fn names_client(name: &str, client: IpAddr) -> bool {
    match name.parse::<IpAddr>() {
        Ok(address) => address == client,
        Err(_) => (name, 0).to_socket_addrs().is_ok_and(|mut found| found.any(|a| a.ip() == client)),
    }
}

/// Returns a host name that may stand in a greeting, in a From_ line and in the name of a lock file.
fn host_name(text: &str) -> Result<String, String> {
    let good = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-' | b'_');
    if text.is_empty() || text.len() > 255 || text.starts_with('.') || !text.bytes().all(good) {
        return Err(format!("not a host name: {text}"));
    }
    Ok(text.into())
}

/// Returns a path that means the same wherever the process is.
fn absolute(text: &str) -> Result<PathBuf, String> {
    let good = text.starts_with('/') && !text.contains('\0');
    if good { Ok(text.into()) } else { Err(format!("not a path that starts with `/`: {text}")) }
}

/// Returns a path that stays below where it starts.
fn relative(text: &str) -> Result<PathBuf, String> {
    use std::path::Component;
    let path = PathBuf::from(text);
    let below = path.components().all(|component| matches!(component, Component::Normal(_)));
    if text.is_empty() || text.contains('\0') || !below {
        return Err(format!("not a path below the home directory: {text}"));
    }
    Ok(path)
}

/// Returns a path that starts at the root or stays below the home directory.
fn absolute_or_relative(text: &str) -> Result<PathBuf, String> {
    if text.starts_with('/') { absolute(text) } else { relative(text) }
}

/// Returns a format that mailboxes can be made in.
fn format(text: &str) -> Result<&'static str, String> {
    let known = ailurus_formats::CREATABLE.into_iter();
    if let Some(known) = known.clone().find(|&known| known == text) {
        return Ok(known);
    }
    let near = near::suggestion(text, known.clone());
    Err(format!("unknown mailbox format: {text}{near} (known: {})", known.collect::<Vec<_>>().join(", ")))
}

const MOST_KEYWORDS: usize = 30;
const MOST_KEYWORD: usize = 50;

/// Returns a keyword that any mailbox can have.
fn keyword(text: &str) -> Result<Keyword, String> {
    let short = Some(text).filter(|text| text.len() <= MOST_KEYWORD);
    short.and_then(|text| Keyword::new(text.as_bytes())).ok_or_else(|| format!("not a keyword: {text}"))
}
