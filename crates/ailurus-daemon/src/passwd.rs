//! `ailurus passwd`: the databases of passwords.
//!
//! A password goes to the database of verifiers, and to that of CRAM-MD5 secrets where there is one (or one is asked for), so that
//! both always know the same one.

use crate::databases::{CRAM_DATABASE, PASSWORD_DATABASE, replace_secret_file};
use crate::personal;
use ailurus_auth::scram::SALT;
use ailurus_auth::{CramDatabase, CramEditor, PasswordDatabase, PasswordEditor};
use ailurus_sys::{process, users};
use std::fs::{DirBuilder, File};
use std::io::{self, IsTerminal, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use zeroize::Zeroizing;

/// What to do with the databases.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// Give a user (whoever runs the program, if none is named) a password.
    Set(Option<String>, Kinds),
    /// Remove a user.
    Remove(String),
    /// Print the users.
    List,
}

/// What is kept of a password.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Kinds {
    /// Verifiers, and the password itself where there is a database of those.
    #[default]
    Usual,
    /// Verifiers, and the password itself.
    WithSecret,
    /// Verifiers alone.
    VerifiersOnly,
}

/// Longer passwords are a mistake, such as a file piped in.
const MOST_SECRET: u64 = 1024;

/// Runs `ailurus passwd`: on the host's databases for root, on those of one's own server for anyone else, or on a CRAM-MD5
/// database that is named.
#[must_use]
pub fn passwd(action: Action, file: Option<PathBuf>) -> ExitCode {
    match run(action, file) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ailurus passwd: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The files that are changed.
struct Databases {
    verifiers: Option<PathBuf>,
    secrets: PathBuf,
    /// They are those of the host.
    of_host: bool,
}

fn run(action: Action, file: Option<PathBuf>) -> Result<(), String> {
    let (databases, own_name) = match file {
        Some(secrets)
            if secrets.parent().is_some_and(|parent| !parent.as_os_str().is_empty() && !parent.is_dir()) =>
        {
            return Err(format!("there is no directory for {}", secrets.display()));
        }
        Some(secrets) => (Databases { verifiers: None, secrets, of_host: false }, None),
        None if rustix::process::geteuid().is_root() => {
            let verifiers = Some(PASSWORD_DATABASE.into());
            (Databases { verifiers, secrets: CRAM_DATABASE.into(), of_host: true }, None)
        }
        None => {
            let own = personal::own()?;
            let verifiers = Some(own.verifier_file());
            (Databases { verifiers, secrets: own.password_file(), of_host: false }, Some(own.user))
        }
    };
    match action {
        Action::List => databases.list(),
        Action::Remove(user) => databases.remove(&user),
        Action::Set(user, kinds) => {
            let user = match (own_name, user) {
                (Some(own), Some(user)) if !user.eq_ignore_ascii_case(&own) => {
                    return Err(format!(
                        "your own server lets in {own} alone, not {user}; the host's passwords are root's to change"
                    ));
                }
                (own, user) => own.or(user).ok_or("whose password? name a user")?,
            };
            databases.set(&user, kinds)
        }
    }
}

impl Databases {
    fn list(&self) -> Result<(), String> {
        let secrets = CramDatabase::parse(&read(&self.secrets)?);
        let verifiers = PasswordDatabase::parse(&self.read_verifiers()?);
        let others = secrets.users().filter(|user| !verifiers.users().any(|other| other == *user));
        for user in verifiers.users().chain(others) {
            println!("{}", user.escape_ascii());
        }
        Ok(())
    }

    fn remove(&self, user: &str) -> Result<(), String> {
        let _lock = self.lock()?;
        let mut secrets = CramEditor::new(&read(&self.secrets)?);
        let mut verifiers = PasswordEditor::new(&self.read_verifiers()?);
        let (had_secret, had_verifiers) =
            (secrets.remove(user.as_bytes()), verifiers.remove(user.as_bytes()));
        if !had_secret && !had_verifiers {
            return Err(format!("{user} has no entry in {}", self.shown()));
        }
        if had_secret {
            write(&self.secrets, secrets.text())?;
            if self.of_host && CramDatabase::parse(secrets.text()).users().next().is_none() {
                note(&format!(
                    "{CRAM_DATABASE} has no users now, and none of the system's passwords counts; remove it to use them again"
                ));
            }
        }
        if let Some(file) = self.verifiers.as_ref().filter(|_| had_verifiers) {
            write(file, verifiers.text())?;
            if self.of_host && PasswordDatabase::parse(verifiers.text()).users().next().is_none() {
                note(&format!(
                    "{PASSWORD_DATABASE} has no users now, and SCRAM is offered for nothing; remove it"
                ));
            }
        }
        Ok(())
    }

    fn set(&self, user: &str, kinds: Kinds) -> Result<(), String> {
        // A bad name is refused before a password is asked for.
        PasswordEditor::check(user.as_bytes(), b"x").map_err(|error| error.to_string())?;
        if self.of_host && users::by_name(user.as_bytes()).is_ok_and(|user| user.is_none()) {
            note(&format!("{user} has no account on this host and cannot log in before it has"));
        }
        if self.of_host
            && users::by_name(user.as_bytes()).is_ok_and(|user| user.is_some_and(|user| user.uid == 0))
        {
            note(&format!("{user} has user id 0, which never logs in"));
        }
        let begins = |file: &Path| self.of_host && !file.exists();
        let password = ask_secret(user)?;
        // Whoever thinks about a password keeps nobody waiting, and what others did meanwhile stays.
        let _lock = self.lock()?;
        let mut secrets = CramEditor::new(&read(&self.secrets)?);
        let mut verifiers = PasswordEditor::new(&self.read_verifiers()?);
        let keep_secret = match kinds {
            // Of one's own server both are kept, until one is not wanted.
            Kinds::Usual => {
                self.secrets.exists() || !self.of_host && !self.verifiers.as_ref().is_some_and(|v| v.exists())
            }
            Kinds::WithSecret => true,
            Kinds::VerifiersOnly => false,
        };
        if let Some(file) = &self.verifiers {
            verifiers.set(user.as_bytes(), &password, random()?).map_err(|error| error.to_string())?;
            let first = begins(file);
            write(file, verifiers.text())?;
            if first {
                note(&format!(
                    "{PASSWORD_DATABASE} is there now: who has an entry in it logs in with that password and not with the \
                     system's, and SCRAM is offered to all, which those without an entry cannot use"
                ));
            }
        }
        if keep_secret {
            secrets.set(user.as_bytes(), &password).map_err(|error| error.to_string())?;
            let first = begins(&self.secrets);
            write(&self.secrets, secrets.text())?;
            if first {
                note(&format!(
                    "{CRAM_DATABASE} is there now: from here on all passwords are checked against it and not the \
                     system's, and whoever has no entry in it cannot log in"
                ));
            }
        } else if secrets.remove(user.as_bytes()) {
            // An old password would still be good there.
            write(&self.secrets, secrets.text())?;
        }
        Ok(())
    }

    /// Keeps others from changing the databases, as long as the lock is there: each change is of a whole file.
    fn lock(&self) -> Result<Lock, String> {
        let file = self.verifiers.as_ref().unwrap_or(&self.secrets);
        make_directory(file)?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let path = file.with_file_name(format!(".{name}.lock"));
        Lock::of(path.clone()).map_err(|error| format!("cannot lock {}: {error}", path.display()))
    }

    fn read_verifiers(&self) -> Result<Zeroizing<Vec<u8>>, String> {
        self.verifiers.as_deref().map_or_else(|| Ok(Zeroizing::default()), read)
    }

    fn shown(&self) -> String {
        let files = self.verifiers.iter().chain([&self.secrets]);
        files.map(|file| file.display().to_string()).collect::<Vec<_>>().join(" and ")
    }
}

/// Returns what verifiers are made with.
pub(crate) fn random() -> Result<[[u8; SALT]; 4], String> {
    let mut random = [[0; SALT]; 4];
    process::random_bytes(random.as_flattened_mut()).map_err(|error| error.to_string())?;
    Ok(random)
}

fn note(text: &str) {
    eprintln!("ailurus passwd: note: {text}");
}

/// Asks for the password twice on a terminal, without echo; else reads one line.
fn ask_secret(user: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let bad = |error: io::Error| format!("cannot read the password: {error}");
    if !io::stdin().is_terminal() {
        let mut line = Zeroizing::new(Vec::new());
        io::stdin().lock().take(MOST_SECRET + 1).read_to_end(&mut line).map_err(bad)?;
        if line.len() > usize::try_from(MOST_SECRET).unwrap_or(usize::MAX) {
            return Err(format!("the password is longer than {MOST_SECRET} octets"));
        }
        let end = line.iter().position(|octet| matches!(octet, b'\r' | b'\n')).unwrap_or(line.len());
        line.truncate(end);
        return Ok(line);
    }
    let ask = |prompt: String| rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(bad);
    let first = ask(format!("Password of {user}: "))?;
    if *first != *ask("Once more: ".into())? {
        return Err("the two differ; nothing is changed".into());
    }
    Ok(Zeroizing::new(first.as_bytes().to_vec()))
}

fn read(file: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    match std::fs::read(file) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Zeroizing::default()),
        Err(error) => Err(format!("cannot read {}: {error}", file.display())),
    }
}

/// A locked file that is there as long as the lock is. Nobody else can open it, and so nobody else can hold it.
struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    fn of(path: PathBuf) -> io::Result<Self> {
        loop {
            let file = File::options().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
            file.lock()?;
            // Whoever had it before has removed it.
            let (locked, there) = (file.metadata()?, std::fs::symlink_metadata(&path));
            if there.is_ok_and(|there| (there.dev(), there.ino()) == (locked.dev(), locked.ino())) {
                return Ok(Self { path, _file: file });
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        std::fs::remove_file(&self.path).ok();
    }
}

fn make_directory(file: &Path) -> Result<(), String> {
    let Some(directory) = file.parent().filter(|directory| !directory.as_os_str().is_empty()) else {
        return Ok(());
    };
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|error| format!("cannot make {}: {error}", directory.display()))
}

fn write(file: &Path, text: &[u8]) -> Result<(), String> {
    make_directory(file)?;
    replace_secret_file(file, text, 0o600)
        .map_err(|error| format!("cannot write {}: {error}", file.display()))
}
