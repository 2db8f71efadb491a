//! The door: who may come in, and what the process becomes then.
//!
//! A [`HostDoor`] is that of a mail host: the process is root's, checks a password (spec/auth.md §1, §3, §5), gives up
//! all that is root's, for good (§2), and from there on acts with the user's rights alone. A [`PersonalDoor`] is
//! that of a person's own server: one user, one password in a file, no rights to give up.

use crate::settings::{Confinement, Settings};
use crate::surroundings::{self, Surroundings};
use ailurus_auth::identity::{names_to_try, passwords_to_try};
use ailurus_auth::{CheckError, CramDatabase, Identity, PasswordCheck, SecretLookup, Verdict};
use ailurus_server::{Login, LoginFailure};
use ailurus_store::{Level, Mode};
use ailurus_sys::syslog::{Facility, Log, Priority, field};
use ailurus_sys::{User, pam, privileges, shadow, users};
use ailurus_types::Secret;
use std::io;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Lets users in.
pub trait Door {
    /// Checks the password of the identity's `authcid` and becomes its user.
    ///
    /// # Errors
    ///
    /// The reason is in the log; the peer is told nothing.
    fn check_password(&mut self, identity: &Identity, password: &[u8]) -> Result<Login, LoginFailure>;

    /// Becomes the user of an identity that is proven.
    ///
    /// # Errors
    ///
    /// As before.
    fn become_user(&mut self, identity: &Identity) -> Result<Login, LoginFailure>;
}

/// Where passwords of system users are checked, decided once at the start.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Passwords {
    /// The database of CRAM-MD5 is there, and then nothing else counts (spec/auth.md §1).
    Database(PathBuf),
    /// PAM, with this service name.
    Pam(&'static str),
    /// passwd and shadow.
    Shadow,
}

/// The database of shared secrets of a mail host.
pub const CRAM_DATABASE: &str = "/etc/cram-md5.pwd";
/// The PAM service of imapd: what administrators have configured for the original.
pub const PAM_SERVICE: &str = "imap";
/// Where its file is.
pub const PAM_DIRECTORIES: [&str; 3] = ["/etc/pam.d", "/usr/lib/pam.d", "/usr/local/etc/pam.d"];
/// Members of this group may log in as others.
const ADMIN_GROUP: &[u8] = b"mailadm";

impl Passwords {
    /// Looks at the host.
    #[must_use]
    pub fn of_host() -> Self {
        if Path::new(CRAM_DATABASE).exists() {
            return Self::Database(CRAM_DATABASE.into());
        }
        let configured = PAM_DIRECTORIES.iter().any(|d| Path::new(d).join(PAM_SERVICE).exists());
        if configured && pam::available() { Self::Pam(PAM_SERVICE) } else { Self::Shadow }
    }

    /// Returns the database if CRAM-MD5 is to be offered.
    #[must_use]
    pub fn secrets(&self) -> Option<SecretFile> {
        match self {
            Self::Database(path) => Some(SecretFile(path.clone())),
            _ => None,
        }
    }
}

/// A CRAM-MD5 database that is read anew for every look-up.
#[derive(Clone, Debug)]
pub struct SecretFile(pub PathBuf);

impl SecretFile {
    fn read(&self) -> Result<CramDatabase, CheckError> {
        let text = std::fs::read(&self.0).map(Zeroizing::new).map_err(|error| CheckError {
            what: format!("cannot read {}", self.0.display()),
            source: Some(Box::new(error)),
        })?;
        Ok(CramDatabase::parse(&text))
    }
}

impl SecretLookup for SecretFile {
    fn secret(&self, user: &[u8]) -> Result<Option<Secret<Zeroizing<Vec<u8>>>>, CheckError> {
        self.read()?.secret(user)
    }
}

/// The door of a mail host.
pub struct HostDoor<'l> {
    /// How passwords are checked.
    pub passwords: Passwords,
    /// The client's address, for PAM.
    pub remote: Option<String>,
    /// The client for the log.
    pub client: String,
    /// The name of this host.
    pub host: String,
    /// The configuration of the host.
    pub settings: &'l Settings,
    /// Where to log.
    pub log: &'l Log,
    /// The PAM transaction, kept until the process ends.
    pub session: Option<pam::PamSession>,
}

/// A password that is right, and what its check brought along.
struct Checked {
    session: Option<pam::PamSession>,
    alerts: Vec<(Level, String)>,
}

impl Door for HostDoor<'_> {
    fn check_password(&mut self, identity: &Identity, password: &[u8]) -> Result<Login, LoginFailure> {
        let checked = self.check(&identity.authcid, password).map_err(|why| self.refuse(identity, &why))?;
        self.enter(identity, checked)
    }

    fn become_user(&mut self, identity: &Identity) -> Result<Login, LoginFailure> {
        self.enter(identity, Checked { session: None, alerts: Vec::new() })
    }
}

impl HostDoor<'_> {
    /// Checks the password of a system account; the error is for the log.
    fn check(&self, name: &[u8], password: &[u8]) -> Result<Checked, String> {
        match &self.passwords {
            Passwords::Database(path) => {
                let database = SecretFile(path.clone()).read().map_err(|error| chain(&error))?;
                match database.check(name, password, None).map_err(|error| chain(&error))? {
                    Verdict::Accepted(_) => Ok(Checked { session: None, alerts: Vec::new() }),
                    Verdict::Refused(why) => Err(why.into()),
                }
            }
            Passwords::Pam(service) => self.check_pam(service, name, password),
            Passwords::Shadow => check_shadow(name, password),
        }
    }

    fn check_pam(&self, service: &str, name: &[u8], password: &[u8]) -> Result<Checked, String> {
        // PAM is asked for unknown users too, so that they take as long as wrong passwords.
        let account = match account(name)? {
            Some(user) => user.name.into_bytes(),
            // Modules log names; one with line ends in it is nobody's, and could forge lines.
            None if name.iter().any(u8::is_ascii_control) => return Err("no such account".into()),
            None => name.to_vec(),
        };
        let mut why = "empty password".to_owned();
        for password in passwords_to_try(password) {
            match pam::authenticate(service, &account, password, self.remote.as_deref()) {
                Ok(session) => return Ok(Checked { session: Some(session), alerts: Vec::new() }),
                Err(error) => why = error.to_string(),
            }
        }
        Err(why)
    }

    /// Becomes the user of an identity whose `authcid` is proven.
    fn enter(&mut self, identity: &Identity, checked: Checked) -> Result<Login, LoginFailure> {
        let user = self.entitled(identity).map_err(|why| self.refuse(identity, &why))?;
        let surroundings = Surroundings::of_user(&user, &self.host);
        let home = surroundings.home.clone();
        // While this is still root's process: after a refusal others may log in.
        let mut environment = surroundings::environment(surroundings, self.settings, Confinement::Chroot)
            .map_err(|why| self.refuse(identity, &why))?;
        let jail = (environment.mode == Mode::ClosedBox).then_some(home.as_path());
        if let Err(error) = privileges::become_user(&user, jail) {
            // Neither root nor the user: nothing may go on from here.
            self.say(Facility::Mail, Priority::Alert, &format!("cannot become user={}: {error}", user.name));
            std::process::exit(1);
        }
        self.session = checked.session;
        std::env::set_current_dir(&environment.home).ok();
        for complaint in self.settings.read_users(&mut environment) {
            self.say(Facility::Mail, Priority::Warning, &format!("{complaint}, user={}", user.name));
        }
        Ok(surroundings::login(environment, checked.alerts))
    }

    /// Returns the account to become, if the identity may.
    fn entitled(&self, identity: &Identity) -> Result<User, String> {
        let proven = self.proven(&identity.authcid)?;
        let name = if identity.admin().is_some() { identity.user() } else { &proven };
        let user = account(name)?.ok_or("no such account")?;
        if user.uid == 0 {
            return Err("root cannot log in".into());
        }
        if let Some(admin) = identity.admin() {
            let name = account(&proven)?.map_or_else(|| proven.clone(), |admin| admin.name.into_bytes());
            let member = users::is_member(&name, ADMIN_GROUP).map_err(|error| chain(&error))?;
            let (admin, user) = (field(admin), field(identity.user()));
            let what = if member { "Admin" } else { "Failed" };
            let line = format!("{what} {admin} override of user={user} host={}", self.client);
            self.say(Facility::Auth, Priority::Notice, &line);
            if !member {
                return Err("not a member of the group mailadm".into());
            }
        }
        Ok(user)
    }

    /// Returns the name whose password or secret was checked. Where accounts differ in letter case alone it must not
    /// become the other one: the database may know `ada`, and `ADA` be somebody else.
    fn proven(&self, authcid: &[u8]) -> Result<Vec<u8>, String> {
        let Passwords::Database(path) = &self.passwords else { return Ok(authcid.to_vec()) };
        let database = SecretFile(path.clone()).read().map_err(|error| chain(&error))?;
        Ok(database.name_of(authcid).unwrap_or(authcid).to_vec())
    }

    /// Leaves the reason in the log, which the reference keeps to itself (FAQ 7.4).
    fn refuse(&self, identity: &Identity, why: &str) -> LoginFailure {
        let (user, admin) = (field(identity.user()), field(&identity.authcid));
        let line = format!("Login refused user={user} auth={admin} host={} reason={why}", self.client);
        self.say(Facility::Auth, Priority::Info, &line);
        LoginFailure::Refused
    }

    fn say(&self, facility: Facility, priority: Priority, line: &str) {
        self.log.emit(facility, priority, line);
    }
}

/// Returns the account of a name, or of its lower-case form.
fn account(name: &[u8]) -> Result<Option<User>, String> {
    for name in names_to_try(name) {
        if let Some(user) = users::by_name(&name).map_err(|error| chain(&error))? {
            return Ok(Some(user));
        }
    }
    Ok(None)
}

fn check_shadow(name: &[u8], password: &[u8]) -> Result<Checked, String> {
    let mut why = "empty password".to_owned();
    let known = account(name)?.map_or_else(|| name.to_vec(), |user| user.name.into_bytes());
    for password in passwords_to_try(password) {
        match shadow::check(&known, password).map_err(|error| chain(&error))? {
            shadow::Verdict::Accepted { warnings, .. } => {
                let alerts = warnings.iter().map(|warning| (level(*warning), warning.to_string())).collect();
                return Ok(Checked { session: None, alerts });
            }
            shadow::Verdict::Refused(reason) => why = reason.to_string(),
        }
    }
    Err(why)
}

/// The last day is a warning (`* NO [ALERT]`), those before are not.
fn level(warning: shadow::Warning) -> Level {
    match warning {
        shadow::Warning::PasswordExpiresToday | shadow::Warning::AccountExpiresToday => Level::Warning,
        shadow::Warning::PasswordExpiresIn(_) | shadow::Warning::AccountExpiresIn(_) => Level::Info,
    }
}

/// Returns an error with its sources.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

/// The door of a person's own server.
pub struct PersonalDoor<'l> {
    /// The file with the one user's name and password, in the form of the CRAM-MD5 database.
    pub secrets: SecretFile,
    /// Whose mailboxes, and where; taken at the login.
    pub surroundings: Surroundings,
    /// The configuration of the host.
    pub settings: &'l Settings,
}

impl Door for PersonalDoor<'_> {
    fn check_password(&mut self, identity: &Identity, password: &[u8]) -> Result<Login, LoginFailure> {
        let database = self.secrets.read().map_err(|_| LoginFailure::Unavailable)?;
        match database.check(&identity.authcid, password, None) {
            Ok(Verdict::Accepted(_)) => self.become_user(identity),
            _ => Err(LoginFailure::Refused),
        }
    }

    fn become_user(&mut self, identity: &Identity) -> Result<Login, LoginFailure> {
        let own = |name: &[u8]| name.eq_ignore_ascii_case(self.surroundings.user.as_bytes());
        if !own(&identity.authcid) || !own(identity.user()) {
            return Err(LoginFailure::Refused);
        }
        let surroundings = self.surroundings.clone();
        let mut environment = surroundings::environment(surroundings, self.settings, Confinement::Names)
            .map_err(|_| LoginFailure::Unavailable)?;
        // What is wrong with the user's own file, `ailurus check` tells its owner.
        drop(self.settings.read_users(&mut environment));
        Ok(surroundings::login(environment, Vec::new()))
    }
}

/// Replaces a file of secrets: written beside, with this mode, synced, renamed.
///
/// # Errors
///
/// The directory may not be written; the old file is as it was.
pub fn replace_secret_file(path: &Path, text: &[u8], mode: u32) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy().into_owned();
    let beside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let result = (|| {
        let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.write_all(text)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)?;
        std::fs::File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
    })();
    if result.is_err() {
        std::fs::remove_file(&beside).ok();
    }
    result
}
