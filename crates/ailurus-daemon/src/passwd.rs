//! `ailurus passwd`: the database of CRAM-MD5 secrets.

use crate::login::{CRAM_DATABASE, replace_secret_file};
use crate::personal;
use ailurus_auth::{CramDatabase, CramEditor};
use ailurus_sys::users;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use zeroize::Zeroizing;

/// What to do with the database.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// Give a user (whoever runs the program, if none is named) a secret.
    Set(Option<String>),
    /// Remove a user.
    Remove(String),
    /// Print the users.
    List,
}

/// Longer secrets are a mistake, such as a file piped in.
const MOST_SECRET: u64 = 1024;

/// Runs `ailurus passwd` on a file: the host's database for root, that of one's own server for anyone else, unless
/// named.
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

fn run(action: Action, file: Option<PathBuf>) -> Result<(), String> {
    let (file, own_name) = match file {
        Some(file) => (file, None),
        None if rustix::process::geteuid().is_root() => (CRAM_DATABASE.into(), None),
        None => {
            let own = personal::own()?;
            (own.password_file(), Some(own.user))
        }
    };
    let text = read(&file)?;
    match action {
        Action::List => {
            for user in CramDatabase::parse(&text).users() {
                println!("{}", user.escape_ascii());
            }
            Ok(())
        }
        Action::Remove(user) => {
            let mut editor = CramEditor::new(&text);
            if !editor.remove(user.as_bytes()) {
                return Err(format!("{user} has no entry in {}", file.display()));
            }
            write(&file, &editor)?;
            if file == Path::new(CRAM_DATABASE) && CramDatabase::parse(editor.text()).users().next().is_none()
            {
                note(&format!(
                    "{CRAM_DATABASE} has no users now, and nobody can log in; remove it to use the \
                               system's passwords again"
                ));
            }
            Ok(())
        }
        Action::Set(user) => {
            let user = user.or(own_name).ok_or("whose secret? name a user")?;
            set(&file, &text, &user)
        }
    }
}

fn set(file: &Path, text: &[u8], user: &str) -> Result<(), String> {
    let mut editor = CramEditor::new(text);
    // A bad name is refused before a secret is asked for.
    editor.set(user.as_bytes(), b"x").map_err(|error| error.to_string())?;
    if file == Path::new(CRAM_DATABASE) && users::by_name(user.as_bytes()).is_ok_and(|user| user.is_none()) {
        note(&format!("{user} has no account on this host and cannot log in before it has"));
    }
    let begins = file == Path::new(CRAM_DATABASE) && !file.exists();
    let secret = ask_secret(user)?;
    editor.set(user.as_bytes(), &secret).map_err(|error| error.to_string())?;
    write(file, &editor)?;
    if begins {
        note(&format!(
            "{CRAM_DATABASE} is there now: from here on all passwords are checked against it and not the system's, \
             and whoever has no entry in it cannot log in"
        ));
    }
    Ok(())
}

fn note(text: &str) {
    eprintln!("ailurus passwd: note: {text}");
}

/// Asks for the secret twice on a terminal, without echo; else reads one line.
fn ask_secret(user: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let bad = |error: io::Error| format!("cannot read the secret: {error}");
    if !io::stdin().is_terminal() {
        let mut line = Zeroizing::new(Vec::new());
        io::stdin().lock().take(MOST_SECRET + 1).read_to_end(&mut line).map_err(bad)?;
        if line.len() > usize::try_from(MOST_SECRET).unwrap_or(usize::MAX) {
            return Err(format!("the secret is longer than {MOST_SECRET} octets"));
        }
        let end = line.iter().position(|octet| matches!(octet, b'\r' | b'\n')).unwrap_or(line.len());
        line.truncate(end);
        return Ok(line);
    }
    let ask = |prompt: String| rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(bad);
    let first = ask(format!("Secret of {user}: "))?;
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

fn write(file: &Path, editor: &CramEditor) -> Result<(), String> {
    if let Some(directory) = file.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|error| format!("cannot make {}: {error}", directory.display()))?;
    }
    replace_secret_file(file, editor.text(), 0o600)
        .map_err(|error| format!("cannot write {}: {error}", file.display()))
}
