//! How passwords are checked on this host, and what keeps everybody out.

use super::Finding;
use crate::databases::{PAM_DIRECTORIES, PASSWORD_DATABASE, Passwords, VerifierFile};
use crate::protocol::Protocol;
use crate::settings::Settings;
use ailurus_auth::cram_database::suspect_lines;
use ailurus_auth::{CramDatabase, PasswordDatabase, password_database};
use ailurus_server::Plaintext;
use ailurus_sys::{pam, shadow, users};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Looks at how the passwords of all protocols are checked.
pub(super) fn passwords() -> Vec<Finding> {
    let imap = Passwords::of_host(Protocol::Imap);
    let mut findings = passwords_of(Protocol::Imap, &imap);
    if !matches!(imap, Passwords::Database(_)) {
        findings.extend(passwords_of(Protocol::Pop3, &Passwords::of_host(Protocol::Pop3)));
    }
    findings
}

fn passwords_of(protocol: Protocol, passwords: &Passwords) -> Vec<Finding> {
    let name = protocol.name().to_ascii_uppercase();
    match passwords {
        Passwords::Database(path) => {
            let mut findings = vec![private_file(path, "chmod 600")];
            match fs::read(path) {
                Err(error) => findings.push(Finding::problem(
                    format!("cannot read {}: {error}", path.display()),
                    "while it exists and cannot be read, nobody logs in",
                )),
                Ok(text) => findings.extend(database(path, &text)),
            }
            findings
        }
        Passwords::Pam(service) => {
            let found = PAM_DIRECTORIES.iter().map(|d| Path::new(d).join(service)).find(|file| file.exists());
            let findings = found.map(|file| pam_service(&file)).unwrap_or_default();
            if findings.is_empty() {
                return vec![Finding::good(format!(
                    "passwords of {name} are checked by PAM, service {service}"
                ))];
            }
            findings
        }
        Passwords::Shadow => vec![shadow_passwords(protocol)],
    }
}

/// What is wrong with the file of a PAM service: nobody logs in then, and PAM says why in its own log at best.
fn pam_service(file: &Path) -> Vec<Finding> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let mut findings = Vec::new();
    let (mut kinds, mut included) = (Vec::new(), false);
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let kind = words.next().unwrap_or_default().trim_start_matches('-');
        let other = match kind {
            "@include" => words.next(),
            _ => {
                words.next().filter(|word| ["include", "substack"].contains(word)).and_then(|_| words.next())
            }
        };
        if let Some(other) = other {
            included |= kind == "@include";
            if !file.with_file_name(other).exists() {
                findings.push(Finding::problem(
                    format!("{} includes {other}, which does not exist: nobody can log in", file.display()),
                    "name the file that this system has for it",
                ));
            }
        }
        kinds.push(kind);
    }
    for needed in ["auth", "account"] {
        if !included && !kinds.contains(&needed) {
            findings.push(Finding::problem(
                format!(
                    "{} has no line of the kind {needed}: PAM's service \"other\" decides",
                    file.display()
                ),
                "see packaging/pam for what belongs there",
            ));
        }
    }
    findings
}

/// Passwords forbidden where nothing else is offered.
pub(super) fn plaintext(settings: &Settings, passwords: &Passwords) -> Option<Finding> {
    let never = settings.plaintext == Some(Plaintext::Never) && settings.plaintext_clients.is_empty();
    let other = passwords.secrets().is_some()
        || settings.client_ca.is_some()
        || VerifierFile::existing(PASSWORD_DATABASE).is_some();
    (never && !other).then(|| {
        Finding::problem(
            "the settings forbid passwords even inside TLS, and there is no other way to log in",
            "set plaintext = \"tls\" (disable-plaintext 2), or give users passwords for SCRAM with `ailurus passwd USER`",
        )
    })
}

/// Looks at the database of verifiers, if there is one.
pub(super) fn verifiers(path: &Path) -> Vec<Finding> {
    if fs::symlink_metadata(path).is_err() {
        return Vec::new();
    }
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) => {
            return vec![Finding::problem(
                format!("cannot read {}: {error}", path.display()),
                "while it exists and cannot be read, nobody logs in with a password",
            )];
        }
    };
    let mut findings = vec![private_file(path, "chmod 600")];
    let database = PasswordDatabase::parse(&text);
    for line in password_database::suspect_lines(&text) {
        findings.push(Finding::problem(
            format!("{} line {line} has no verifier that can be used", path.display()),
            "`ailurus passwd USER` writes the line anew",
        ));
    }
    if !database.has_salt_key() {
        findings.push(Finding::note(
            format!("{} has no key for made-up salts: others may find out who has an entry", path.display()),
            "`ailurus passwd USER` adds it",
        ));
    }
    findings.extend(accounts(path, database.users()));
    findings
}

fn database(path: &Path, text: &[u8]) -> Vec<Finding> {
    let mut findings = vec![Finding::note(
        format!("{} exists: no password of the system's counts", path.display()),
        "remove it if that is not meant",
    )];
    for line in suspect_lines(text) {
        findings.push(Finding::problem(
            format!("{} line {line} is no entry", path.display()),
            "an entry is USER, one TAB, SECRET; `ailurus passwd USER` writes it",
        ));
    }
    findings.extend(accounts(path, CramDatabase::parse(text).users()));
    findings
}

/// Looks whether those who have an entry have an account.
fn accounts<'u>(path: &Path, users: impl Iterator<Item = &'u [u8]>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for user in users {
        let name = user.escape_ascii();
        match users::by_name(user) {
            Ok(None) => findings.push(Finding::problem(
                format!("{name} in {} has no account and cannot log in", path.display()),
                format!("make the account, or `ailurus passwd --remove {name}`"),
            )),
            Ok(Some(user)) if user.uid == 0 => findings.push(Finding::problem(
                format!("{name} in {} has user id 0 and cannot log in", path.display()),
                "use another account",
            )),
            _ => {}
        }
    }
    findings
}

fn shadow_passwords(protocol: Protocol) -> Finding {
    let (looked, service) = (PAM_DIRECTORIES.join(", "), protocol.pam_service());
    let name = protocol.name().to_ascii_uppercase();
    if pam::available() {
        // Common mistakes.
        let names = match protocol {
            Protocol::Imap => ["imapd", "imaps", "simap", "imap4"],
            Protocol::Pop3 | Protocol::Pop2 => ["pop3", "pop3d", "ipop3d", "pop3s"],
        };
        let other = names.map(|name| Path::new("/etc/pam.d").join(name));
        let other = other.iter().find(|file| file.exists());
        let other = other.map_or(String::new(), |file| format!(" ({} is not looked at)", file.display()));
        return Finding::note(
            format!(
                "no PAM service file \"{service}\" in {looked}{other}: passwords of {name} are checked against shadow"
            ),
            format!(
                "to use PAM, make /etc/pam.d/{service} (on Debian: @include common-auth, common-account)"
            ),
        );
    }
    if shadow::available() {
        return Finding::good(format!("passwords of {name} are checked against shadow (there is no PAM)"));
    }
    Finding::problem("neither libpam nor libcrypt can be loaded", "install one of them: nobody can log in")
}

pub(super) fn private_file(path: &Path, remedy: &str) -> Finding {
    match fs::metadata(path) {
        Err(error) => {
            Finding::problem(format!("cannot look at {}: {error}", path.display()), "check its directory")
        }
        Ok(metadata) if metadata.mode() & 0o077 != 0 => Finding::problem(
            format!("others can read {} (mode {:o})", path.display(), metadata.mode() & 0o7777),
            format!("{remedy} {}", path.display()),
        ),
        Ok(_) => Finding::good(format!("{} is private", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Weight;
    use super::super::tests::weights;
    use super::*;

    #[test]
    fn a_database_is_read_line_by_line() {
        let text = b"root\tsecret\nno tab\nno-such-user-here\tsecret\n";
        let findings = database(Path::new("/x"), text);
        assert_eq!(
            weights(&findings),
            [Weight::Note, Weight::Problem, Weight::Problem, Weight::Problem],
            "{findings:#?}"
        );
        assert!(findings[1].what.contains("line 2"), "{}", findings[1].what);
    }

    #[test]
    fn a_database_of_verifiers_is_looked_over() {
        let scratch = tempfile::tempdir().expect("a directory");
        let path = scratch.path().join("ailurus.passwd");
        assert_eq!(verifiers(&path), []);
        fs::write(&path, "no-such-user-here\tSCRAM-SHA-256$1:x$y:z\nno tab\n").expect("ours");
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("ours");
        let problem = Weight::Problem;
        assert_eq!(weights(&verifiers(&path)), [problem, problem, problem, Weight::Note, problem]);
        let mut editor = ailurus_auth::PasswordEditor::new(b"");
        editor.set(b"nobody", b"pw", [[7; 16]; 4]).expect("a fine entry");
        fs::write(&path, editor.text()).expect("ours");
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o400)).expect("ours");
        assert_eq!(weights(&verifiers(&path)), [Weight::Good]);
        fs::remove_file(&path).expect("ours");
        std::os::unix::fs::symlink("/nowhere", &path).expect("ours");
        assert_eq!(weights(&verifiers(&path)), [problem]);
    }

    #[test]
    fn services_of_pam_are_read() {
        let scratch = tempfile::tempdir().expect("a directory");
        let file = scratch.path().join("imap");
        let said = |text: &str| {
            fs::write(&file, text).expect("written");
            pam_service(&file).into_iter().map(|finding| finding.what).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(said("auth required pam_unix.so\n-account required pam_unix.so\n"), "");
        assert!(said("# auth\naccount required pam_unix.so\n").contains("no line of the kind auth"));
        assert!(said("@include common-auth\n").contains("includes common-auth, which does not exist"));
        assert!(said("auth include password-auth\naccount required x\n").contains("includes password-auth"));
        fs::write(scratch.path().join("common-auth"), "").expect("written");
        assert_eq!(said("@include common-auth\n"), "");
    }

    #[test]
    fn a_host_where_nobody_can_log_in_is_told() {
        let mut settings = Settings::default();
        settings.plaintext = Some(Plaintext::Never);
        assert!(plaintext(&settings, &Passwords::Shadow).is_some());
        assert!(plaintext(&settings, &Passwords::Database("/x".into())).is_none());
        settings.plaintext = Some(Plaintext::OnlyTls);
        assert!(plaintext(&settings, &Passwords::Shadow).is_none());
    }
}
