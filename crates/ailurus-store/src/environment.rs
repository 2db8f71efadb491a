//! Whose mailboxes these are, and by what rules.

use crate::Notices;
use ailurus_types::Keyword;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The surroundings of one user's mailboxes (spec/storage-common.md §3.1): settled once after login, then shared by
/// all drivers of the session.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The user's login name.
    pub user: String,
    /// The home directory.
    pub home: PathBuf,
    /// Where plain names are: home, or a directory below it.
    pub mailbox_dir: PathBuf,
    /// The spool file (`/var/mail/user`); in any mode but [`Mode::Open`] it is `INBOX` in `mailbox_dir`.
    pub spool: PathBuf,
    /// Where session locks are: `/tmp` for everybody, since the protocol with other programs says so.
    pub lock_dir: PathBuf,
    /// Where indexes of mailboxes are kept (`~/.cache/ailurus`), which may vanish at any time; `None`: nowhere.
    pub cache_dir: Option<PathBuf>,
    /// How many octets a mailbox has at least that gets an index: smaller ones are read as fast.
    pub index_from: u64,
    /// The name of this host, in From_ lines and hitching-post files.
    pub host: String,
    /// Which names may be used.
    pub mode: Mode,
    /// What the mode leaves, less this.
    pub restrictions: Restrictions,
    /// Homes of the shared namespaces.
    pub shared: SharedHomes,
    /// Who knows other users' homes, for `~user/name`.
    pub homes: Arc<dyn Homes>,
    /// The directory below a home where plain names are (`mail-subdirectory`), for other users' homes; for this
    /// user it is part of `mailbox_dir` already.
    pub mail_subdirectory: Option<PathBuf>,
    /// Which namespaces NAMESPACE tells of.
    pub advertise: Advertise,
    /// File modes.
    pub protections: Protections,
    /// The format of CREATE without `#driver.`.
    pub create_format: &'static str,
    /// The format that an append gives to an empty file; `None`: such files are no mailboxes.
    pub empty_format: Option<&'static str>,
    /// Keywords given to new mailboxes.
    pub default_keywords: Vec<Keyword>,
    /// Quote only body lines that are complete From_ lines, not every `From `.
    pub from_widget_header_only: bool,
    /// LIST leaves out names that start with a dot.
    pub hide_dot_files: bool,
    /// How many levels `*` goes down in LIST.
    pub list_depth: usize,
    /// INBOX may be the file `mbox` in `mailbox_dir`, to which new mail is then moved.
    pub mbox_as_inbox: bool,
    /// Where mh folders are; `None`: where `~/.mh_profile` says, if there is one, and else there are none.
    pub mh_path: Option<PathBuf>,
    /// INBOX may be the mh folder `inbox`.
    pub mh_allow_inbox: bool,
    /// Where news is.
    pub news: News,
    /// How long a dot-lock is waited for, and how old one is stale, in seconds.
    pub dot_lock_timeout: u32,
    /// How often a held session lock is tried again, once a second.
    pub kiss_tries: u32,
    /// Where drivers leave what they have to tell.
    pub notices: Notices,
    /// The time, which tests hold still.
    pub clock: Arc<dyn Clock>,
    /// The UIDVALIDITY values that were given here.
    pub validities: Arc<Validities>,
}

/// What keeps a mailbox from getting the UIDVALIDITY of one that had its name in the same second. Other sessions have their
/// own; a client deletes a mailbox and makes it again in one.
#[derive(Debug, Default)]
pub struct Validities {
    /// The largest that was given, or proposed.
    given: AtomicU32,
    /// The largest that a mailbox without its name may have.
    gone: AtomicU32,
}

impl Validities {
    /// Notes that this one was given.
    pub fn give(&self, validity: u32) {
        self.given.fetch_max(validity, Ordering::SeqCst);
    }
}

impl Environment {
    /// Returns the surroundings of a user by the usual rules: mailboxes in `home`, open names, the unix format.
    #[must_use]
    pub fn new(user: &str, home: PathBuf, spool: PathBuf, host: &str) -> Self {
        Self {
            user: user.into(),
            mailbox_dir: home.clone(),
            home,
            spool,
            lock_dir: "/tmp".into(),
            cache_dir: None,
            index_from: 256 * 1024,
            host: host.into(),
            mode: Mode::Open,
            restrictions: Restrictions::default(),
            shared: SharedHomes::default(),
            homes: Arc::new(NoHomes),
            mail_subdirectory: None,
            advertise: Advertise::Usual,
            protections: Protections::default(),
            create_format: "unix",
            empty_format: Some("unix"),
            default_keywords: Vec::new(),
            from_widget_header_only: false,
            hide_dot_files: false,
            list_depth: 20,
            mbox_as_inbox: true,
            mh_path: None,
            mh_allow_inbox: false,
            news: News::default(),
            dot_lock_timeout: 300,
            kiss_tries: 15,
            notices: Notices::default(),
            clock: Arc::new(SystemClock::default()),
            validities: Arc::default(),
        }
    }

    /// Returns a UIDVALIDITY for a mailbox whose UIDs start anew: the time, or the next number if a mailbox of this second was
    /// deleted or renamed, for the name may be the same (RFC 3501 §2.3.1.1).
    #[must_use]
    pub fn new_validity(&self) -> u32 {
        let now = u32::try_from(self.clock.now().max(1)).unwrap_or(u32::MAX);
        let validity = now.max(self.validities.gone.load(Ordering::SeqCst).saturating_add(1));
        self.validities.give(validity);
        validity
    }

    /// Notes that a mailbox is losing its name.
    pub(crate) fn note_lost_name(&self) {
        let now = u32::try_from(self.clock.now().max(1)).unwrap_or(u32::MAX);
        let most = now.max(self.validities.given.load(Ordering::SeqCst));
        self.validities.gone.fetch_max(most, Ordering::SeqCst);
    }
}

/// Which names may be used at all.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Mode {
    /// Every name that the file system lets the user have.
    Open,
    /// All users' mail is in one directory, each in one of its own below this.
    BlackBox(PathBuf),
    /// The process is locked into the home by chroot.
    ClosedBox,
    /// The anonymous user.
    Anonymous,
}

/// What is forbidden beyond the mode (the reference's restrictBox bits).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Restrictions {
    /// No names that start at the root.
    pub no_root: bool,
    /// No names of other users' homes.
    pub no_other_users: bool,
    /// Neither `..` nor `//` nor `/~` in a name; set by any restriction in the reference.
    pub no_dots: bool,
}

impl Restrictions {
    /// Returns everything forbidden, as Debian builds the reference.
    #[must_use]
    pub const fn all() -> Self {
        Self { no_root: true, no_other_users: true, no_dots: true }
    }

    /// Returns what either forbids.
    #[must_use]
    pub const fn and(self, more: Self) -> Self {
        Self {
            no_root: self.no_root || more.no_root,
            no_other_users: self.no_other_users || more.no_other_users,
            no_dots: self.no_dots || more.no_dots,
        }
    }
}

/// Knows the homes of users.
pub trait Homes: Send + Sync + std::fmt::Debug {
    /// Returns the home directory of a user, as the password file has it.
    fn home(&self, user: &str) -> Option<PathBuf>;
}

/// Knows no user: every `~user/name` is refused.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHomes;

impl Homes for NoHomes {
    fn home(&self, _user: &str) -> Option<PathBuf> {
        None
    }
}

/// Which namespaces NAMESPACE tells of (spec/storage-common.md §3.5).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Advertise {
    /// The user's own, other users' and the shared ones.
    #[default]
    Usual,
    /// The root of the file system as well (`advertise-the-world`).
    World,
    /// Neither other users' nor what the whole world may read (`limited-advertise`).
    Limited,
}

/// Homes of the shared namespaces, where there are any.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SharedHomes {
    /// `#ftp/`
    pub ftp: Option<PathBuf>,
    /// `#public/`
    pub public: Option<PathBuf>,
    /// `#shared/`
    pub shared: Option<PathBuf>,
}

/// Where the articles of newsgroups are, and what was read of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct News {
    /// The file that lists the groups.
    pub active: PathBuf,
    /// The directory that holds the articles.
    pub spool: PathBuf,
    /// The user's own state; `None`: `.newsrc` in the home.
    pub state: Option<PathBuf>,
}

impl Default for News {
    fn default() -> Self {
        Self { active: "/var/lib/news/active".into(), spool: "/var/spool/news".into(), state: None }
    }
}

/// Modes of new files and directories (spec/storage-common.md §3.6), independent of the umask.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Protections {
    /// A mailbox file of the user's own.
    pub mailbox: u32,
    /// A directory of the user's own.
    pub directory: u32,
    /// Lock files.
    pub lock: u32,
    /// Files and directories below `#ftp/`.
    pub ftp: (u32, u32),
    /// Files and directories below `#public/`.
    pub public: (u32, u32),
    /// Files and directories below `#shared/`.
    pub shared: (u32, u32),
}

impl Default for Protections {
    fn default() -> Self {
        Self {
            mailbox: 0o600,
            directory: 0o700,
            lock: 0o666,
            ftp: (0o644, 0o755),
            public: (0o666, 0o777),
            shared: (0o660, 0o770),
        }
    }
}

/// What the time is, and how far local time is from UTC.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Returns the seconds since 1970 UTC.
    fn now(&self) -> i64;

    /// Returns the local offset in force now, in minutes east of UTC.
    fn local_offset(&self) -> i16;
}

/// The system's clock, with an offset that is looked up once by whoever makes it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock {
    /// The local offset in minutes east of UTC.
    pub local_offset: i16,
}

impl Clock for SystemClock {
    fn now(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    }

    fn local_offset(&self) -> i16 {
        self.local_offset
    }
}
