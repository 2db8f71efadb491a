//! From an account to its mailboxes.

use crate::imapd::home_of_environment;
use crate::settings::{Confinement, Settings};
use ailurus_server::Login;
use ailurus_store::{Environment, Homes, Level, Mailboxes, Mode, SharedHomes, SystemClock};
use ailurus_sys::{User, users};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What decides where a user's mailboxes are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Surroundings {
    /// The login name.
    pub user: String,
    /// The home directory.
    pub home: PathBuf,
    /// The spool file.
    pub spool: PathBuf,
    /// The name of this host.
    pub host: String,
    /// Homes of the shared namespaces.
    pub shared: SharedHomes,
}

impl Surroundings {
    /// Returns those of a system account: home from passwd, the usual spool, shared namespaces where their accounts
    /// exist (FAQ 4.6).
    #[must_use]
    pub fn of_user(user: &User, host: &str) -> Self {
        Self {
            user: user.name.clone(),
            home: user.home.clone(),
            spool: spool_of(&user.name),
            host: host.into(),
            shared: shared_homes(),
        }
    }
}

/// Returns the spool file of a user.
#[must_use]
pub fn spool_of(user: &str) -> PathBuf {
    spool_directory().join(user)
}

/// Returns the spool directory of the host.
#[must_use]
pub fn spool_directory() -> &'static Path {
    let usual = Path::new("/var/mail");
    if usual.is_dir() { usual } else { Path::new("/var/spool/mail") }
}

/// Settles where a user's mailboxes are and by what rules.
///
/// # Errors
///
/// The settings have mistakes, or send this user to a directory that does not exist.
pub fn environment(
    surroundings: Surroundings,
    settings: &Settings,
    confinement: Confinement,
) -> Result<Environment, String> {
    let Surroundings { user, home, spool, host, shared } = surroundings;
    let mut environment = Environment::new(&user, home, spool, &host);
    environment.shared = shared;
    environment.homes = Arc::new(SystemHomes);
    environment.clock = Arc::new(SystemClock { local_offset: local_offset() });
    settings.apply(&mut environment, confinement)?;
    environment.cache_dir = cache_directory(&environment);
    Ok(environment)
}

/// Settles what the anonymous user sees: a home of its own, and what is there for everybody.
pub(crate) fn anonymous(host: &str, settings: &Settings) -> Environment {
    let home = settings.anonymous_home.clone().unwrap_or_else(|| spool_directory().join("anonymous"));
    let shared = shared_homes();
    let mut environment = Environment::new("ANONYMOUS", home.clone(), home.join("INBOX"), host);
    environment.mode = Mode::Anonymous;
    environment.shared = SharedHomes { shared: None, ..shared };
    environment.clock = Arc::new(SystemClock { local_offset: local_offset() });
    settings.apply_anonymous(&mut environment);
    environment
}

/// Returns the homes of the shared namespaces, where their accounts exist (FAQ 4.6).
fn shared_homes() -> SharedHomes {
    let home = |name: &[u8]| users::by_name(name).ok().flatten().map(|user| user.home);
    SharedHomes { ftp: home(b"ftp"), public: home(b"imappublic"), shared: home(b"imapshared") }
}

/// Returns where indexes of mailboxes are kept: in the user's cache, which this process's environment knows if it is
/// the user's own. In a box nothing but names of ours is hidden from LIST.
fn cache_directory(environment: &Environment) -> Option<PathBuf> {
    let home = &environment.home;
    match environment.mode {
        Mode::Open => {
            let is_own = home_of_environment().as_ref() == Some(home);
            let configured = std::env::var_os("XDG_CACHE_HOME").filter(|_| is_own).map(PathBuf::from);
            let cache = configured.filter(|path| path.is_absolute());
            Some(cache.unwrap_or_else(|| home.join(".cache")).join("ailurus"))
        }
        Mode::BlackBox(_) | Mode::ClosedBox => Some(home.join(".ailurus-cache")),
        Mode::Anonymous => None,
    }
}

/// Opens the mailboxes: the drivers, and the names over them.
#[must_use]
pub fn mailboxes(environment: Environment) -> Mailboxes {
    let environment = Arc::new(environment);
    let drivers = ailurus_formats::drivers(&environment, &ailurus_formats::disk::Os::shared());
    Mailboxes::new(environment, drivers)
}

/// The homes of the system's users, for `~user/name`.
#[derive(Clone, Copy, Debug)]
struct SystemHomes;

impl Homes for SystemHomes {
    fn home(&self, user: &str) -> Option<PathBuf> {
        users::by_name(user.as_bytes()).ok().flatten().map(|user| user.home)
    }
}

/// Makes the answer to a login, with what the user should be told about the account.
pub(crate) fn login(environment: Environment, alerts: Vec<(Level, String)>) -> Login {
    let user = environment.user.clone();
    let mailboxes = mailboxes(environment);
    for (level, alert) in alerts {
        mailboxes.environment().notices.tell(level, format!("[ALERT] {alert}"));
    }
    Login { user, mailboxes }
}

/// Returns how far local time is from UTC now, in minutes east.
fn local_offset() -> i16 {
    let seconds = local_now().offset().seconds();
    i16::try_from(seconds / 60).unwrap_or(0)
}

/// Returns the local time.
///
/// `jiff::Zoned::now` would look through the whole directory of zones for the name of the local one: half the time that
/// imapd takes to its greeting.
#[must_use]
pub fn local_now() -> jiff::Zoned {
    let named = std::env::var_os("TZ").is_some_and(|zone| !zone.is_empty());
    let data = if named { None } else { std::fs::read("/etc/localtime").ok() };
    let zone = data.and_then(|data| jiff::tz::TimeZone::tzif("Local", &data).ok());
    jiff::Timestamp::now().to_zoned(zone.unwrap_or_else(jiff::tz::TimeZone::system))
}

/// Returns the moment as RFC 822 has it, with the zone in a comment: `Mon, 23 Nov 2026 12:15:14 +0000 (UTC)`.
#[must_use]
pub fn date_text(now: &jiff::Zoned) -> String {
    now.strftime("%a, %-d %b %Y %H:%M:%S %z (%Z)").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_users_homes_are_those_of_the_system() {
        let root = users::by_name(b"root").expect("asked").expect("there is one");
        let surroundings = Surroundings::of_user(&root, "mail.example");
        let environment = environment(surroundings, &Settings::default(), Confinement::Names);
        let homes = environment.expect("no black box").homes;
        assert_eq!(homes.home("root"), Some(root.home));
        assert_eq!(homes.home("ailurus-nobody-has-this"), None);
    }

    #[test]
    fn indexes_are_in_the_users_own_cache() {
        let mut environment = Environment::new("ada", "/homes/ada".into(), "/var/mail/ada".into(), "h");
        assert_eq!(cache_directory(&environment), Some("/homes/ada/.cache/ailurus".into()));
        environment.mode = Mode::BlackBox("/homes".into());
        assert_eq!(cache_directory(&environment), Some("/homes/ada/.ailurus-cache".into()));
        environment.mode = Mode::Anonymous;
        assert_eq!(cache_directory(&environment), None);
    }

    #[test]
    fn local_time_is_that_of_the_system() {
        let (ours, systems) = (local_now(), jiff::Zoned::now());
        assert_eq!(ours.offset(), systems.offset());
        assert_eq!(ours.strftime("%Z").to_string(), systems.strftime("%Z").to_string());
    }

    #[test]
    fn the_date_is_that_of_a_greeting() {
        let moment: jiff::Timestamp = "2026-11-03T12:15:14Z".parse().expect("a moment");
        let text = date_text(&moment.to_zoned(jiff::tz::TimeZone::UTC));
        assert_eq!(text, "Tue, 3 Nov 2026 12:15:14 +0000 (UTC)");
    }
}
