//! `ailurus check`: looks over the host, and says every problem at once with what to do about it.

use crate::imapd::CERTIFICATE_NAME;
use crate::login::{PAM_DIRECTORIES, PAM_SERVICE, Passwords};
use crate::settings::{CONFIG_FILE, Settings};
use crate::tls::{self, CertificateFiles, CertificateStore};
use crate::{personal, surroundings};
use ailurus_auth::CramDatabase;
use ailurus_auth::cram_database::suspect_lines;
use ailurus_formats::lock::LOCK_PROGRAMS;
use ailurus_server::Plaintext;
use ailurus_store::{Access, Error};
use ailurus_sys::{pam, shadow, users};
use ailurus_types::MailboxName;
use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::ExitCode;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Weight {
    /// As it should be.
    Good,
    /// Works, but see.
    Note,
    /// Does not work, or is not safe.
    Problem,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// How much it matters.
    pub weight: Weight,
    /// What was found.
    pub what: String,
    /// What to do, if anything.
    pub remedy: Option<String>,
}

impl Finding {
    fn good(what: impl Into<String>) -> Self {
        Self { weight: Weight::Good, what: what.into(), remedy: None }
    }

    fn note(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { weight: Weight::Note, what: what.into(), remedy: Some(remedy.into()) }
    }

    fn problem(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { weight: Weight::Problem, what: what.into(), remedy: Some(remedy.into()) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.weight {
            Weight::Good => "ok     ",
            Weight::Note => "note   ",
            Weight::Problem => "PROBLEM",
        };
        write!(f, "{mark}  {}", self.what)?;
        match &self.remedy {
            Some(remedy) => write!(f, "\n         -> {remedy}"),
            None => Ok(()),
        }
    }
}

/// Runs `ailurus check`: of the mail host for root, of one's own server for anyone else.
#[must_use]
pub fn check() -> ExitCode {
    let root = rustix::process::geteuid().is_root();
    let findings = if root { of_host() } else { of_person() };
    for finding in &findings {
        println!("{finding}");
    }
    let problems = findings.iter().filter(|finding| finding.weight == Weight::Problem).count();
    match problems {
        0 => println!("No problems found."),
        1 => println!("1 problem found."),
        n => println!("{n} problems found."),
    }
    if problems == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Looks over everything that the mail server of the host depends on.
#[must_use]
pub fn of_host() -> Vec<Finding> {
    let settings = Settings::read(Path::new(CONFIG_FILE));
    let mut findings =
        certificates(&CertificateStore::system(CERTIFICATE_NAME), jiff::Timestamp::now().as_second());
    findings.extend(passwords());
    findings.extend(plaintext(&settings, &Passwords::of_host()));
    findings.extend(lock_directory(Path::new("/tmp")));
    findings.push(spool_directory(surroundings::spool_directory()));
    findings.push(mlock());
    findings.extend(config_file(Path::new(CONFIG_FILE), &settings));
    findings.extend([143, 993].map(port));
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    findings.extend(accounts(&passwd));
    findings.extend(mbx_inboxes(&passwd));
    for (path, effect, remedy) in FILES {
        if Path::new(path).exists() {
            findings.push(Finding::note(format!("{path} exists: {effect}"), remedy));
        }
    }
    findings
}

/// Files of the original that change what the server does by being there.
const FILES: [(&str, &str, &str); 4] = [
    ("/etc/nologin", "nobody is served while it exists", "remove it when it is over"),
    ("/etc/imapd.alert", "it is shown to every client", "remove it when it is over"),
    ("/etc/anonymous.newsgroups", "anonymous login is not there yet", "keep the original for that"),
    ("/etc/imapd.nntp", "news is not there yet", "keep the original for that"),
];

/// Looks over everything that a person's own server depends on.
#[must_use]
pub fn of_person() -> Vec<Finding> {
    let own = match personal::own() {
        Ok(own) => own,
        Err(error) => return vec![Finding::problem(error, "ask the administrator for an account")],
    };
    let mut findings = Vec::new();
    if own.password_file().exists() {
        findings.push(private_file(&own.password_file(), "chmod 600"));
        let now = jiff::Timestamp::now().as_second();
        findings.extend(certificates(&own.certificates(), now));
    } else {
        findings.push(Finding::note(
            "your own server has not been started yet",
            "`ailurus serve` makes a password and a certificate",
        ));
    }
    findings.extend(lock_directory(Path::new("/tmp")));
    findings.push(spool_directory(own.spool.parent().unwrap_or(Path::new("/"))));
    findings.push(mlock());
    findings.extend([1143, 1993].map(port));
    findings.extend(mbx_inbox(&own.user, &own.home.join("INBOX")));
    findings.extend(mailboxes(surroundings::Surroundings {
        user: own.user,
        home: own.home,
        spool: own.spool,
        host: "localhost".into(),
        shared: Default::default(),
    }));
    findings
}

/// Looks at every certificate that some connection can get.
fn certificates(store: &CertificateStore, now: i64) -> Vec<Finding> {
    let all = store.all();
    if all.is_empty() {
        return vec![Finding::problem(
            format!("no certificate: {} does not exist", store.expected().display()),
            "put the certificate chain there and the key beside it or into the directory of keys, as one PEM file \
             each; until then there is no TLS, and passwords are accepted from this host only",
        )];
    }
    let mut findings: Vec<_> = all.iter().map(|files| certificate(files, now)).collect();
    if store.find(None).is_none() {
        findings.push(Finding::note(
            format!("{} does not exist", store.expected().display()),
            "connections to addresses that have no certificate of their own get no TLS",
        ));
    }
    findings
}

fn certificate(files: &CertificateFiles, now: i64) -> Finding {
    const DAY: i64 = 86_400;
    let certified = match tls::load(files) {
        Ok(certified) => certified,
        Err(error) => {
            return Finding::problem(
                format!("{error}: {}", error.reason()),
                "the file needs the certificate chain (server's first), the key an unencrypted key that belongs to it",
            );
        }
    };
    let name = files.certificate.display();
    match tls::validity(&certified) {
        Some((from, _)) if from > now => Finding::problem(
            format!("{name} is not valid yet"),
            "check the clock, or get another certificate",
        ),
        Some((_, to)) if to < now => {
            Finding::problem(format!("{name} expired {} days ago", (now - to) / DAY), "renew it")
        }
        Some((_, to)) if to < now + 14 * DAY => {
            Finding::note(format!("{name} expires in {} days", (to - now) / DAY), "renew it")
        }
        _ => match readable_by_others(&files.key) {
            true => Finding::problem(
                format!("everybody can read the key in {}", files.key.display()),
                format!("chmod 600 {}", files.key.display()),
            ),
            false => Finding::good(format!("certificate {name}")),
        },
    }
}

fn readable_by_others(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o004 != 0)
}

fn passwords() -> Vec<Finding> {
    match Passwords::of_host() {
        Passwords::Database(path) => {
            let mut findings = vec![private_file(&path, "chmod 600")];
            match fs::read(&path) {
                Err(error) => findings.push(Finding::problem(
                    format!("cannot read {}: {error}", path.display()),
                    "while it exists and cannot be read, nobody logs in",
                )),
                Ok(text) => findings.extend(database(&path, &text)),
            }
            findings
        }
        Passwords::Pam(service) => {
            let found = PAM_DIRECTORIES.iter().map(|d| Path::new(d).join(service)).find(|file| file.exists());
            let findings = found.map(|file| pam_service(&file)).unwrap_or_default();
            if findings.is_empty() {
                return vec![Finding::good(format!("passwords are checked by PAM, service {service}"))];
            }
            findings
        }
        Passwords::Shadow => vec![shadow_passwords()],
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
fn plaintext(settings: &Settings, passwords: &Passwords) -> Option<Finding> {
    let never = settings.plaintext == Some(Plaintext::Never) && settings.plaintext_clients.is_empty();
    (never && passwords.secrets().is_none()).then(|| {
        Finding::problem(
            format!("{CONFIG_FILE} forbids passwords even inside TLS, and there is no other way to log in"),
            "set disable-plaintext 2 (inside TLS only), or make CRAM-MD5 secrets with `ailurus passwd USER`",
        )
    })
}

fn database(path: &Path, text: &[u8]) -> Vec<Finding> {
    let mut findings = vec![Finding::note(
        format!("{} exists: all passwords are checked against it, not the system's", path.display()),
        "remove it if that is not meant",
    )];
    for line in suspect_lines(text) {
        findings.push(Finding::problem(
            format!("{} line {line} is no entry", path.display()),
            "an entry is USER, one TAB, SECRET; `ailurus passwd USER` writes it",
        ));
    }
    for user in CramDatabase::parse(text).users() {
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

fn shadow_passwords() -> Finding {
    let looked = PAM_DIRECTORIES.join(", ");
    if pam::available() {
        // Common mistakes.
        let other = ["imapd", "imaps", "simap", "imap4"].map(|name| Path::new("/etc/pam.d").join(name));
        let other = other.iter().find(|file| file.exists());
        let other = other.map_or(String::new(), |file| format!(" ({} is not looked at)", file.display()));
        return Finding::note(
            format!(
                "no PAM service file \"{PAM_SERVICE}\" in {looked}{other}: passwords are checked against shadow"
            ),
            format!(
                "to use PAM, make /etc/pam.d/{PAM_SERVICE} (on Debian: @include common-auth, common-account)"
            ),
        );
    }
    if shadow::available() {
        return Finding::good("passwords are checked against shadow (there is no PAM)");
    }
    Finding::problem("neither libpam nor libcrypt can be loaded", "install one of them: nobody can log in")
}

fn private_file(path: &Path, remedy: &str) -> Finding {
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

/// Session locks are in /tmp, where all mail programs look for them.
fn lock_directory(path: &Path) -> Vec<Finding> {
    let mut findings = vec![match fs::metadata(path) {
        Err(error) => Finding::problem(
            format!("cannot use {}: {error}", path.display()),
            format!("mkdir -m 1777 {}: mailboxes are opened read-only without", path.display()),
        ),
        Ok(metadata) if metadata.mode() & 0o1777 != 0o1777 => Finding::problem(
            format!(
                "{} has mode {:o}, and session locks cannot be made",
                path.display(),
                metadata.mode() & 0o7777
            ),
            format!("chmod 1777 {}", path.display()),
        ),
        Ok(_) => Finding::good(format!("{} has mode 1777", path.display())),
    }];
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    if mounts.lines().any(|line| is_private_tmp(line, path)) {
        findings.push(Finding::problem(
            format!(
                "{} is this service's own (PrivateTmp), and locks are not seen by other programs",
                path.display()
            ),
            "set PrivateTmp=no in the unit",
        ));
    }
    findings
}

/// systemd mounts `/tmp/systemd-private-…/tmp` (or the like below /var/tmp) on /tmp.
fn is_private_tmp(mount: &str, path: &Path) -> bool {
    let mut fields = mount.split(' ').skip(3);
    let (root, point) = (fields.next().unwrap_or(""), fields.next().unwrap_or(""));
    Path::new(point) == path && root.contains("systemd-private-")
}

fn spool_directory(path: &Path) -> Finding {
    let shown = path.display();
    let Ok(metadata) = fs::metadata(path) else {
        return Finding::problem(
            format!("the spool directory {shown} does not exist"),
            format!("mkdir -m 1777 {shown}, or install a mail transfer agent"),
        );
    };
    let mode = metadata.mode() & 0o7777;
    if mode & 0o1777 == 0o1777 {
        return Finding::good(format!("spool directory {shown} has mode 1777"));
    }
    if mode & 0o002 != 0 {
        return Finding::problem(
            format!("anybody can remove other users' mail from {shown} (mode {mode:o})"),
            format!("chmod 1777 {shown}"),
        );
    }
    if mode & 0o020 != 0 && mlock_path().is_some() {
        return Finding::good(format!(
            "spool directory {shown} has mode {mode:o}, and mlock makes locks in it"
        ));
    }
    Finding::note(
        format!(
            "users cannot make lock files in {shown} (mode {mode:o}): \"Mailbox vulnerable\" is what they see"
        ),
        format!("chmod 1777 {shown}, or install mlock with group mail and mode 2755"),
    )
}

fn mlock_path() -> Option<&'static str> {
    LOCK_PROGRAMS.into_iter().find(|path| Path::new(path).exists())
}

fn mlock() -> Finding {
    let Some(path) = mlock_path() else {
        return Finding::good("no mlock, which only spool directories without mode 1777 need");
    };
    let mode = fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode() & 0o7777);
    if mode & 0o2000 != 0 {
        Finding::good(format!("{path} is set-group-id"))
    } else {
        Finding::problem(
            format!("{path} is not set-group-id (mode {mode:o})"),
            format!("chgrp mail {path} && chmod 2755 {path}"),
        )
    }
}

/// The original's configuration file: what of it is not obeyed.
fn config_file(path: &Path, settings: &Settings) -> Vec<Finding> {
    if !path.exists() {
        return Vec::new();
    }
    if settings.complaints.is_empty() {
        return vec![Finding::good(format!("{} is obeyed", path.display()))];
    }
    let complain = |line| Finding::problem(line, "correct the line, or remove it if the default suits you");
    settings.complaint_lines().map(complain).collect()
}

fn port(port: u16) -> Finding {
    let address = if port < 1024 { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST };
    match TcpListener::bind((address, port)) {
        Ok(_) => Finding::good(format!("port {port} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Finding::note(
            format!("port {port} is in use"),
            "fine if that is `ailurus serve` or inetd; else stop the other server",
        ),
        Err(error) => Finding::problem(
            format!("cannot listen on port {port}: {error}"),
            "ports below 1024 need root or the capability CAP_NET_BIND_SERVICE",
        ),
    }
}

/// Accounts that share a user id have each other's mail; those with id 0 cannot log in.
fn accounts(passwd: &str) -> Vec<Finding> {
    let mut by_uid: HashMap<u32, Vec<&str>> = HashMap::new();
    for line in passwd.lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(uid)) = (fields.next(), fields.nth(1).and_then(|uid| uid.parse().ok())) {
            by_uid.entry(uid).or_default().push(name);
        }
    }
    let mut shared: Vec<_> = by_uid.into_iter().filter(|(_, names)| names.len() > 1).collect();
    shared.sort();
    let note = |(uid, names): (u32, Vec<&str>)| {
        let names = names.join(", ");
        if uid == 0 {
            return Finding::note(
                format!("user id 0 has the names {names}"),
                "none of them can log in to IMAP",
            );
        }
        Finding::note(
            format!("{names} share user id {uid} and can read each other's mail"),
            "give each an id of its own, unless that is meant",
        )
    };
    shared.into_iter().map(note).collect()
}

/// New mail is not moved from the spool to an INBOX in mbx format yet: its owner would not see it.
fn mbx_inboxes(passwd: &str) -> Vec<Finding> {
    let homes = passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        Some((fields.next()?, fields.nth(4)?))
    });
    homes.filter_map(|(user, home)| mbx_inbox(user, &Path::new(home).join("INBOX"))).collect()
}

fn mbx_inbox(user: &str, inbox: &Path) -> Option<Finding> {
    use std::io::Read;
    let mut start = [0; 5];
    // Neither a FIFO nor a device.
    fs::symlink_metadata(inbox).ok().filter(fs::Metadata::is_file)?;
    fs::File::open(inbox).and_then(|mut file| file.read_exact(&mut start)).ok()?;
    (&start == b"*mbx*").then(|| {
        Finding::problem(
            format!("the INBOX of {user} is {}: new mail in the spool is not shown", inbox.display()),
            "rename that file, or keep the original's imapd until new mail is moved there",
        )
    })
}

/// Opens every mailbox for reading.
fn mailboxes(surroundings: surroundings::Surroundings) -> Vec<Finding> {
    let settings = Settings::read(Path::new(CONFIG_FILE));
    let mailboxes = match surroundings::environment(surroundings, &settings) {
        Ok(environment) => surroundings::mailboxes(environment),
        Err(error) => return vec![Finding::problem(error, "ask the administrator")],
    };
    let mut names = vec![MailboxName::inbox()];
    let mut found = |listed: ailurus_store::Listed| names.push(MailboxName::new(listed.name));
    if let Err(error) = mailboxes.lsub(b"", b"*", &mut found) {
        return vec![Finding::problem(format!("cannot list mailboxes: {error}"), "check the home directory")];
    }
    names.dedup_by(|a, b| a.is_inbox() && b.is_inbox());
    let mut findings = Vec::new();
    let mut opened = 0;
    for name in names {
        match mailboxes.select(&name, Access::ReadOnly) {
            Ok(mailbox) => {
                opened += 1;
                drop(mailbox);
            }
            Err(Error::NotFound(_)) if name.is_inbox() => opened += 1,
            Err(error) => findings.push(Finding::problem(
                format!("{name} cannot be opened: {error}"),
                "see whether the file is damaged or belongs to somebody else",
            )),
        }
    }
    findings.push(Finding::good(format!("{opened} mailboxes (INBOX and those subscribed to) can be opened")));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(findings: &[Finding]) -> Vec<Weight> {
        findings.iter().map(|finding| finding.weight).collect()
    }

    #[test]
    fn a_directory_of_locks_must_be_everybodys() {
        let scratch = tempfile::tempdir().expect("a directory");
        let mode = |mode| {
            fs::set_permissions(scratch.path(), fs::Permissions::from_mode(mode)).expect("ours");
            lock_directory(scratch.path())
        };
        assert_eq!(weights(&mode(0o755)), [Weight::Problem]);
        assert_eq!(weights(&mode(0o1777)), [Weight::Good]);
        assert_eq!(weights(&lock_directory(&scratch.path().join("missing"))), [Weight::Problem]);
        let line = "30 24 8:1 /tmp/systemd-private-0f-imap.service-x/tmp /tmp rw - ext4 /dev/sda1 rw";
        assert!(is_private_tmp(line, Path::new("/tmp")));
        assert!(!is_private_tmp("30 24 0:26 / /tmp rw - tmpfs tmpfs rw", Path::new("/tmp")));
    }

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
    fn shared_user_ids_are_noted() {
        let text =
            "root:x:0:0::/root:/bin/sh\ntoor:x:0:0::/root:/bin/sh\nada:x:1000:1::/a:\nben:x:1001:1::/b:\n";
        let findings = accounts(text);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].what, "user id 0 has the names root, toor");
    }

    #[test]
    fn an_inbox_that_gets_no_mail_is_found() {
        let scratch = tempfile::tempdir().expect("a directory");
        let passwd = format!("ada:x:1000:1000:Ada:{}:/bin/sh\nben:x:1001:1001\n", scratch.path().display());
        assert_eq!(mbx_inboxes(&passwd), []);
        fs::write(scratch.path().join("INBOX"), "From ada").expect("ours");
        assert_eq!(mbx_inboxes(&passwd), []);
        fs::write(scratch.path().join("INBOX"), "*mbx*\r\n").expect("ours");
        assert_eq!(weights(&mbx_inboxes(&passwd)), [Weight::Problem]);
    }

    #[test]
    fn certificates_are_judged() {
        let scratch = tempfile::tempdir().expect("a directory");
        let store = CertificateStore::directory(scratch.path(), "imapd");
        let now = jiff::Timestamp::now().as_second();
        let year = 365 * 86_400;
        assert!(certificates(&store, now)[0].what.starts_with("no certificate"));
        let path = store.expected();
        fs::write(&path, tls::self_signed(&["localhost".into()]).expect("made")).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("ours");
        assert!(certificates(&store, now)[0].what.starts_with("everybody can read the key"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("ours");
        assert_eq!(certificates(&store, now)[0].weight, Weight::Good);
        assert!(certificates(&store, now + 3 * year)[0].what.contains("expired"));
        assert!(certificates(&store, now - year)[0].what.contains("not valid yet"));
        assert_eq!(certificates(&store, now + 2 * year - 10 * 86_400)[0].weight, Weight::Note);
        fs::write(&path, "nothing").expect("written");
        assert_eq!(certificates(&store, now)[0].weight, Weight::Problem);
    }

    #[test]
    fn every_certificate_is_looked_at() {
        let scratch = tempfile::tempdir().expect("a directory");
        let store = CertificateStore::directory(scratch.path(), "imapd");
        let now = jiff::Timestamp::now().as_second();
        fs::write(scratch.path().join("imapd-192.0.2.1.pem"), "nothing").expect("written");
        assert_eq!(weights(&certificates(&store, now)), [Weight::Problem, Weight::Note]);
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
        let never = Settings::parse(b"set disable-plaintext 1\n");
        assert!(plaintext(&never, &Passwords::Shadow).is_some());
        assert!(plaintext(&never, &Passwords::Database("/x".into())).is_none());
        assert!(plaintext(&Settings::parse(b"set disable-plaintext 2\n"), &Passwords::Shadow).is_none());
    }

    #[test]
    fn ports_in_use_are_noted() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let taken = listener.local_addr().expect("bound").port();
        assert_eq!(port(taken).weight, Weight::Note);
    }
}
