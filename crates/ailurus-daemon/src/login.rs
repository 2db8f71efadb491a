//! The door: who may come in, and what the process becomes then.
//!
//! A [`HostDoor`] is that of a mail host: the process is root's, checks a password (spec/auth.md §1, §3, §5), gives up
//! all that is root's, for good (§2), and from there on acts with the user's rights alone. A [`PersonalDoor`] is
//! that of a person's own server: one user, one password in a file, no rights to give up.

use crate::databases::{Passwords, SecretFile, VerifierFile};
use crate::guard::Sentry;
use crate::settings::{Confinement, Settings};
use crate::surroundings::{self, Surroundings};
use ailurus_auth::identity::{names_to_try, passwords_to_try};
use ailurus_auth::{Identity, PasswordCheck, Verdict};
use ailurus_server::{Login, LoginFailure};
use ailurus_store::{Level, Mode};
use ailurus_sys::syslog::{Facility, Log, Priority, field};
use ailurus_sys::{User, pam, privileges, shadow, users};
use std::path::Path;

/// Lets users in.
pub trait Door {
    /// Checks the password of the identity's `authcid` and becomes its user.
    ///
    /// # Errors
    ///
    /// The reason is in the log; the peer is told nothing.
    fn check_password(&mut self, identity: &Identity, password: &[u8]) -> Result<Login, LoginFailure>;

    /// Becomes the user of an identity that is proven, by this mechanism.
    ///
    /// # Errors
    ///
    /// As before.
    fn become_user(&mut self, identity: &Identity, mechanism: &str) -> Result<Login, LoginFailure>;

    /// Becomes the user whom anybody can be.
    ///
    /// # Errors
    ///
    /// There is none here.
    fn become_anonymous(&mut self) -> Result<Login, LoginFailure> {
        Err(LoginFailure::Unavailable)
    }

    /// Takes note of an attempt that failed.
    fn note_failure(&mut self) {}
}

/// Whose rights the anonymous user has.
const NOBODY: &[u8] = b"nobody";
/// Members of this group may log in as others.
const ADMIN_GROUP: &[u8] = b"mailadm";

/// The door of a mail host.
pub struct HostDoor<'l> {
    /// How passwords are checked.
    pub passwords: Passwords,
    /// The database of verifiers, if there is one.
    pub verifiers: Option<VerifierFile>,
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
    /// The line to the server that started us, until somebody is in.
    pub sentry: Option<Sentry>,
    /// The PAM transaction, kept until the process ends.
    pub session: Option<pam::PamSession>,
}

/// A name that is proven, and what its check brought along. Where accounts differ in letter case alone the name is that of the
/// entry whose password was checked: a database may know `ada`, and `ADA` be somebody else.
struct Checked {
    name: Vec<u8>,
    session: Option<pam::PamSession>,
    alerts: Vec<(Level, String)>,
}

impl Checked {
    fn new(name: Vec<u8>) -> Self {
        Self { name, session: None, alerts: Vec::new() }
    }
}

/// Checks a password against the entry of that name in a database.
fn by_database(
    database: &dyn PasswordCheck,
    entry: &[u8],
    name: &[u8],
    password: &[u8],
) -> Result<Checked, String> {
    match database.check(name, password, None).map_err(|error| chain(&error))? {
        Verdict::Accepted(_) => Ok(Checked::new(entry.to_vec())),
        Verdict::Refused(why) => Err(why.into()),
    }
}

impl Door for HostDoor<'_> {
    fn check_password(&mut self, identity: &Identity, password: &[u8]) -> Result<Login, LoginFailure> {
        let checked = match self.check(&identity.authcid, password) {
            Ok(checked) => checked,
            // There is nothing to check: the table alone answers, and says the same to right and wrong passwords.
            Err(why) if self.is_gone(identity) => return Err(self.moved(identity, &why)),
            Err(why) => return Err(self.refuse(identity, &why)),
        };
        self.enter(identity, checked)
    }

    fn become_user(&mut self, identity: &Identity, mechanism: &str) -> Result<Login, LoginFailure> {
        let name = self.proven(&identity.authcid, mechanism).map_err(|why| self.refuse(identity, &why))?;
        self.enter(identity, Checked::new(name))
    }

    fn note_failure(&mut self) {
        if let Some(sentry) = &self.sentry {
            sentry.failed();
        }
    }

    fn become_anonymous(&mut self) -> Result<Login, LoginFailure> {
        let identity = Identity::parse_star(NOBODY);
        let user = account(NOBODY)
            .and_then(|user| user.filter(|user| user.uid != 0).ok_or("no such account".into()));
        let user = user.map_err(|why| self.refuse(&identity, &why))?;
        let environment = surroundings::anonymous(&self.host, self.settings);
        // Strangers are one user, or they could have all sessions of the host.
        self.ask_for_seat(&identity, &user)?;
        self.drop_rights(&user, None);
        std::env::set_current_dir(&environment.home).ok();
        Ok(surroundings::login(environment, Vec::new()))
    }
}

impl HostDoor<'_> {
    /// Checks the password of a system account; the error is for the log.
    fn check(&self, name: &[u8], password: &[u8]) -> Result<Checked, String> {
        let secrets = self.passwords.secrets().map(|file| file.read()).transpose();
        let secrets = secrets.map_err(|error| chain(&error))?;
        if let Some(secrets) = &secrets
            && let Some(entry) = secrets.name_of(name)
        {
            return by_database(secrets, entry, name, password);
        }
        if let Some(verifiers) = &self.verifiers {
            let verifiers = verifiers.read().map_err(|error| chain(&error))?;
            if let Some(entry) = verifiers.name_of(name) {
                return by_database(&verifiers, entry, name, password);
            }
            if secrets.is_some() {
                // Who has no entry in either takes as long as who has.
                verifiers.check(name, password, None).map_err(|error| chain(&error))?;
            }
        }
        match &self.passwords {
            Passwords::Database(_) => Err("no entry in the CRAM-MD5 database".into()),
            Passwords::Pam(service) => self.check_pam(service, name, password),
            Passwords::Shadow => check_shadow(name, password),
        }
    }

    /// Returns the name of the entry whose secret or verifier a mechanism has used.
    fn proven(&self, authcid: &[u8], mechanism: &str) -> Result<Vec<u8>, String> {
        let mut entry = None;
        if mechanism.starts_with("SCRAM-") {
            let database = self.verifiers.as_ref().map(|file| file.read()).transpose();
            let database = database.map_err(|error| chain(&error))?;
            entry = database.and_then(|database| Some(database.name_of(authcid)?.to_vec()));
        } else if let Some(secrets) = self.passwords.secrets()
            && mechanism != "EXTERNAL"
        {
            let database = secrets.read().map_err(|error| chain(&error))?;
            entry = database.name_of(authcid).map(<[u8]>::to_vec);
        }
        Ok(entry.unwrap_or_else(|| authcid.to_vec()))
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
                Ok(session) => return Ok(Checked { session: Some(session), ..Checked::new(name.to_vec()) }),
                Err(error) => why = error.to_string(),
            }
        }
        Err(why)
    }

    /// Becomes the user of an identity whose `authcid` is proven.
    fn enter(&mut self, identity: &Identity, checked: Checked) -> Result<Login, LoginFailure> {
        let user = match self.entitled(identity, &checked.name) {
            Ok(user) => user,
            Err(why) if self.is_gone(identity) => return Err(self.moved(identity, &why)),
            Err(why) => return Err(self.refuse(identity, &why)),
        };
        if self.settings.referrals.user(user.name.as_bytes()).is_some() {
            return Err(self.moved(identity, "the user has moved"));
        }
        let surroundings = Surroundings::of_user(&user, &self.host);
        let home = surroundings.home.clone();
        // While this is still root's process: after a refusal others may log in.
        let mut environment = surroundings::environment(surroundings, self.settings, Confinement::Chroot)
            .map_err(|why| self.refuse(identity, &why))?;
        let jail = (environment.mode == Mode::ClosedBox).then_some(home.as_path());
        self.ask_for_seat(identity, &user)?;
        self.drop_rights(&user, jail);
        self.session = checked.session;
        std::env::set_current_dir(&environment.home).ok();
        for complaint in self.settings.read_users(&mut environment) {
            self.say(Facility::Mail, Priority::Warning, &format!("{complaint}, user={}", user.name));
        }
        Ok(surroundings::login(environment, checked.alerts))
    }

    /// Asks the server for one more session of a user, and lets go of the line to it: what runs with the user's rights has
    /// nothing to say there.
    fn ask_for_seat(&mut self, identity: &Identity, user: &User) -> Result<(), LoginFailure> {
        if self.sentry.as_ref().is_some_and(|sentry| !sentry.may_enter(user.uid)) {
            self.refuse(identity, "too many sessions of this user");
            return Err(LoginFailure::TooManySessions);
        }
        self.sentry = None;
        Ok(())
    }

    /// Becomes a user for good.
    fn drop_rights(&self, user: &User, jail: Option<&Path>) {
        if let Err(error) = privileges::become_user(user, jail) {
            // Neither root nor the user: nothing may go on from here.
            self.say(Facility::Mail, Priority::Alert, &format!("cannot become user={}: {error}", user.name));
            std::process::exit(1);
        }
    }

    /// Returns the account to become, if the identity may, of which this name is proven.
    fn entitled(&self, identity: &Identity, proven: &[u8]) -> Result<User, String> {
        let name = if identity.admin().is_some() { identity.user() } else { proven };
        let user = account(name)?.ok_or("no such account")?;
        if user.uid == 0 {
            return Err("root cannot log in".into());
        }
        if let Some(admin) = identity.admin() {
            let name = account(proven)?.map_or_else(|| proven.to_vec(), |admin| admin.name.into_bytes());
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

    /// Leaves the reason in the log, which the reference keeps to itself (FAQ 7.4).
    fn refuse(&self, identity: &Identity, why: &str) -> LoginFailure {
        let (user, admin) = (field(identity.user()), field(&identity.authcid));
        let line = format!("Login refused user={user} auth={admin} host={} reason={why}", self.client);
        self.say(Facility::Auth, Priority::Info, &line);
        LoginFailure::Refused
    }

    /// Tells whether a user has moved and left no account behind.
    fn is_gone(&self, identity: &Identity) -> bool {
        let name = identity.user();
        identity.admin().is_none()
            && self.settings.referrals.user(name).is_some()
            && matches!(account(name), Ok(None))
    }

    fn moved(&self, identity: &Identity, why: &str) -> LoginFailure {
        self.refuse(identity, why);
        LoginFailure::Moved
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
                return Ok(Checked { alerts, ..Checked::new(name.to_vec()) });
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
    /// The file of verifiers.
    pub verifiers: Option<VerifierFile>,
    /// The line to the server that started us, until somebody is in.
    pub sentry: Option<Sentry>,
    /// Whose mailboxes, and where; taken at the login.
    pub surroundings: Surroundings,
    /// The configuration of the host.
    pub settings: &'l Settings,
}

impl Door for PersonalDoor<'_> {
    fn check_password(&mut self, identity: &Identity, password: &[u8]) -> Result<Login, LoginFailure> {
        let unavailable = |_| LoginFailure::Unavailable;
        let name = &identity.authcid;
        let secrets =
            self.secrets.0.exists().then(|| self.secrets.read()).transpose().map_err(unavailable)?;
        let verdict = match (secrets.filter(|secrets| secrets.name_of(name).is_some()), &self.verifiers) {
            (Some(secrets), _) => secrets.check(name, password, None),
            (None, Some(verifiers)) => verifiers.read().map_err(unavailable)?.check(name, password, None),
            (None, None) => return Err(LoginFailure::Unavailable),
        };
        match verdict {
            Ok(Verdict::Accepted(_)) => self.become_user(identity, "PLAIN"),
            _ => Err(LoginFailure::Refused),
        }
    }

    fn note_failure(&mut self) {
        if let Some(sentry) = &self.sentry {
            sentry.failed();
        }
    }

    fn become_user(&mut self, identity: &Identity, _mechanism: &str) -> Result<Login, LoginFailure> {
        let own = |name: &[u8]| name.eq_ignore_ascii_case(self.surroundings.user.as_bytes());
        if !own(&identity.authcid) || !own(identity.user()) {
            return Err(LoginFailure::Refused);
        }
        let surroundings = self.surroundings.clone();
        let mut environment = surroundings::environment(surroundings, self.settings, Confinement::Names)
            .map_err(|_| LoginFailure::Unavailable)?;
        self.sentry = None;
        // What is wrong with the user's own file, `ailurus check` tells its owner.
        drop(self.settings.read_users(&mut environment));
        Ok(surroundings::login(environment, Vec::new()))
    }
}
