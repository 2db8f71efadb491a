//! A person's own server: whose, where, with which password and certificate.

use crate::databases::replace_secret_file;
use crate::imapd::{Personal, home_of_environment};
use crate::passwd;
use crate::surroundings::spool_of;
use crate::tls;
use ailurus_auth::{CramDatabase, CramEditor, PasswordCheck, PasswordDatabase, PasswordEditor, Verdict};
use ailurus_sys::{process, users};
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Returns the server of whoever runs this process.
///
/// # Errors
///
/// The user database does not know who that is.
pub fn own() -> Result<Personal, String> {
    let user = users::current().map_err(|error| error.to_string())?;
    let user = user.ok_or("nobody in the user database has this process's user id")?;
    let home = home_of_environment().unwrap_or(user.home);
    let state = state_directory(&home);
    Ok(Personal { spool: spool_of(&user.name), user: user.name, home, state, sample: false })
}

/// Returns where password and certificate are kept: `$XDG_STATE_HOME/ailurus`, else `~/.local/state/ailurus`.
fn state_directory(home: &Path) -> PathBuf {
    let configured = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    configured.unwrap_or_else(|| home.join(".local/state")).join("ailurus")
}

/// Makes what is missing: the directory, a password, a certificate. Returns the password if it was made now.
///
/// # Errors
///
/// Something cannot be written, or others could read it.
pub fn prepare(own: &Personal) -> Result<Option<String>, String> {
    let state = &own.state;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(state).map_err(bad(state))?;
    let (file, verifier_file) = (own.password_file(), own.verifier_file());
    let (text, verifiers) = (read_private(&file)?, read_private(&verifier_file)?);
    let user = own.user.as_bytes();
    let secret = CramDatabase::parse(&text).lookup(user).map(|secret| Zeroizing::new(secret.to_vec()));
    let known = PasswordDatabase::parse(&verifiers);
    let made = if secret.is_some() || known.name_of(user).is_some() {
        None
    } else {
        let password = make_password()?;
        let mut editor = CramEditor::new(&text);
        editor.set(user, password.as_bytes()).map_err(|error| error.to_string())?;
        replace_secret_file(&file, editor.text(), 0o600).map_err(bad(&file))?;
        Some(password)
    };
    // The password itself counts where there is one: verifiers of another are old.
    let password = secret.or_else(|| made.as_ref().map(|made| Zeroizing::new(made.as_bytes().to_vec())));
    if let Some(password) = password
        && !matches!(known.check(user, &password, None), Ok(Verdict::Accepted(_)))
    {
        let mut editor = PasswordEditor::new(&verifiers);
        editor.set(user, &password, passwd::random()?).map_err(|error| error.to_string())?;
        replace_secret_file(&verifier_file, editor.text(), 0o600).map_err(bad(&verifier_file))?;
    }
    prepare_certificate(own, jiff::Timestamp::now().as_second())?;
    Ok(made)
}

/// Returns the octets of a file that nobody else may read, if it is there.
fn read_private(file: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let text = match fs::read(file) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Zeroizing::default()),
        Err(error) => return Err(bad(file)(error)),
    };
    let mode = fs::metadata(file).map_err(bad(file))?.mode();
    if !text.is_empty() && mode & 0o077 != 0 {
        return Err(format!("others can read {0}: chmod 600 {0}", file.display()));
    }
    Ok(text)
}

fn bad(what: &Path) -> impl Fn(std::io::Error) -> String + '_ {
    move |error| format!("cannot use {}: {error}", what.display())
}

/// Makes a certificate if there is none, or if the one made before is about to expire. One that the user put there is the
/// user's to renew: it may be the only copy of its key.
fn prepare_certificate(own: &Personal, now: i64) -> Result<(), String> {
    const MONTH: i64 = 30 * 86_400;
    if let Some(files) = own.certificates().find(None) {
        let certified = tls::load(&files).map_err(|error| format!("{error}: {}", error.reason()))?;
        let lasts = tls::validity(&certified).is_none_or(|(_, to)| to > now + MONTH);
        if lasts || !tls::is_self_made(&certified) {
            return Ok(());
        }
    }
    let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
    let pem = tls::self_signed(&names).map_err(|error| format!("cannot make a certificate: {error}"))?;
    let path = own.certificates().expected();
    replace_secret_file(&path, pem.as_bytes(), 0o600)
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Returns 20 letters and digits that cannot be mistaken for each other: 100 bits.
fn make_password() -> Result<String, String> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = [0; 20];
    process::random_bytes(&mut random).map_err(|error| error.to_string())?;
    Ok(random.iter().map(|octet| char::from(LETTERS[usize::from(octet & 31)])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(scratch: &Path) -> Personal {
        Personal {
            user: "ada".into(),
            home: scratch.into(),
            spool: scratch.join("spool"),
            state: scratch.join("state/ailurus"),
            sample: false,
        }
    }

    #[test]
    fn a_certificate_of_ours_is_renewed_and_one_of_the_users_is_not() {
        let scratch = tempfile::tempdir().expect("a directory");
        let own = own(scratch.path());
        prepare(&own).expect("prepared");
        let path = own.certificates().expected();
        let read = || fs::read(&path).expect("readable");
        let (ours, now) = (read(), jiff::Timestamp::now().as_second());
        prepare_certificate(&own, now + 690 * 86_400).expect("nothing to do");
        assert!(read() == ours);
        prepare_certificate(&own, now + 710 * 86_400).expect("renewed");
        assert!(read() != ours);

        let key = rcgen::KeyPair::generate().expect("a key");
        let users = rcgen::CertificateParams::new(["localhost".into()]).expect("a name");
        let users = users.self_signed(&key).expect("a certificate").pem() + &key.serialize_pem();
        fs::write(&path, &users).expect("ours");
        prepare_certificate(&own, 1 << 60).expect("left alone");
        assert!(read() == users.as_bytes());
    }

    #[test]
    fn the_first_start_makes_everything_and_the_second_nothing() {
        let scratch = tempfile::tempdir().expect("a directory");
        let own = own(scratch.path());
        let password = prepare(&own).expect("prepared").expect("made now");
        assert_eq!(password.len(), 20);
        let text = fs::read_to_string(own.password_file()).expect("readable");
        assert_eq!(text, format!("ada\t{password}\n"));
        let verifiers = fs::read(own.verifier_file()).expect("readable");
        let accepts = |verifiers: &[u8], password: &str| {
            let verdict = PasswordDatabase::parse(verifiers).check(b"ada", password.as_bytes(), None);
            matches!(verdict, Ok(Verdict::Accepted(_)))
        };
        assert!(accepts(&verifiers, &password));
        for path in [own.password_file(), own.verifier_file(), own.certificates().expected()] {
            assert_eq!(fs::metadata(path).expect("there").mode() & 0o777, 0o600);
        }
        assert_eq!(fs::metadata(&own.state).expect("there").mode() & 0o777, 0o700);
        let pem = fs::read(own.certificates().expected()).expect("readable");
        assert_eq!(prepare(&own), Ok(None));
        assert_eq!(fs::read(own.certificates().expected()).expect("readable"), pem);
        assert_eq!(fs::read(own.verifier_file()).expect("readable"), verifiers);
        // Changed by hand.
        fs::write(own.password_file(), "ada\tother\n").expect("ours");
        assert_eq!(prepare(&own), Ok(None));
        let verifiers = fs::read(own.verifier_file()).expect("readable");
        assert!(accepts(&verifiers, "other") && !accepts(&verifiers, &password));
        // Nobody needs to keep the password itself.
        fs::remove_file(own.password_file()).expect("ours");
        assert_eq!(prepare(&own), Ok(None));
        assert!(!own.password_file().exists());
        fs::write(own.password_file(), "ada\tother\n").expect("ours");
        let mut permissions = fs::metadata(own.password_file()).expect("there").permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
        fs::set_permissions(own.password_file(), permissions).expect("ours");
        let refused = prepare(&own).expect_err("others can read it");
        assert!(refused.contains("chmod 600"), "{refused}");
    }
}
