//! `ailurus check`: looks over the host, and says every problem at once with what to do about it.

mod certificates;
mod passwords;

use crate::databases::{PASSWORD_DATABASE, Passwords};
use crate::imapd::CERTIFICATE_NAME;
use crate::protocol::Protocol;
use crate::settings::{Confinement, Files, Gravity, Settings};
use crate::tls::CertificateStore;
use crate::{personal, surroundings};
use ailurus_formats::lock::LOCK_PROGRAMS;
use ailurus_store::{Access, Error};
use ailurus_types::MailboxName;
use certificates::{certificates, client_authorities};
use passwords::{passwords, plaintext, private_file, verifiers};
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
    let files = Files::of_host();
    let settings = Settings::read(&files);
    let mut findings = certificates_of_host(&settings);
    findings.extend(passwords());
    findings.extend(verifiers(Path::new(PASSWORD_DATABASE)));
    findings.extend(nobody());
    findings.extend(plaintext(&settings, &Passwords::of_host(Protocol::Imap)));
    findings.extend(lock_directory(Path::new("/tmp")));
    findings.extend(spool_of_host(&settings));
    findings.push(mlock());
    findings.extend(configuration(&files, &settings));
    findings.extend(access(&files.toml));
    findings.extend(settings.protocols().iter().map(|wanted| port(wanted.host_port())));
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    findings.extend(accounts(&passwd));
    findings.extend(mbox_inboxes(&passwd, &settings));
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
    (
        "/etc/anonymous.newsgroups",
        "anybody can log in as anonymous and read #news., #ftp/ and #public/",
        "remove it if that is not meant",
    ),
    ("/etc/imapd.nntp", "news is not there yet", "keep the original for that"),
];

/// Whose rights the anonymous user has must be there where anybody can come in.
fn nobody() -> Option<Finding> {
    let wanted = Path::new(crate::imapd::ANONYMOUS).exists();
    let user = ailurus_sys::users::by_name(b"nobody").ok().flatten();
    (wanted && user.is_none_or(|user| user.uid == 0)).then(|| {
        Finding::problem(
            "there is no user nobody, or it is root: nobody can log in as anonymous",
            "make that account, without a password",
        )
    })
}

/// Looks at all that TLS needs.
fn certificates_of_host(settings: &Settings) -> Vec<Finding> {
    let now = jiff::Timestamp::now().as_second();
    let mut findings = certificates(&CertificateStore::system(CERTIFICATE_NAME), now);
    let of_pop = CertificateStore::system(Protocol::Pop3.program());
    if !of_pop.all().is_empty() {
        findings.extend(certificates(&of_pop, now));
    }
    findings.extend(client_authorities(settings));
    findings
}

/// Returns what keeps clients from TLS, for the log of a server that starts.
pub(crate) fn problems_of_certificates(settings: &Settings) -> impl Iterator<Item = String> {
    let problems = certificates_of_host(settings).into_iter();
    problems.filter(|finding| finding.weight == Weight::Problem).map(|finding| finding.what)
}

/// Looks over everything that a person's own server depends on.
#[must_use]
pub fn of_person() -> Vec<Finding> {
    let own = match personal::own() {
        Ok(own) => own,
        Err(error) => return vec![Finding::problem(error, "ask the administrator for an account")],
    };
    let mut findings = Vec::new();
    let files = [own.password_file(), own.verifier_file()];
    let private: Vec<_> =
        files.iter().filter(|file| !is_missing(file)).map(|file| private_file(file, "chmod 600")).collect();
    if private.is_empty() {
        findings.push(Finding::note(
            "your own server has not been started yet",
            "`ailurus serve` makes a password and a certificate",
        ));
    } else {
        findings.extend(private);
        let now = jiff::Timestamp::now().as_second();
        findings.extend(certificates(&own.certificates(), now));
    }
    let files = Files::of_host();
    let settings = Settings::read(&files);
    findings.extend(configuration(&files, &settings));
    findings.extend(lock_directory(Path::new("/tmp")));
    let spool = settings.spool.as_ref().map(|spool| spool.of(&own.user, &own.home));
    let spool = spool.as_ref().unwrap_or(&own.spool);
    findings.push(spool_directory(spool.parent().unwrap_or(Path::new("/"))));
    findings.push(mlock());
    findings.extend(settings.protocols().iter().map(|wanted| port(wanted.personal_port())));
    findings.extend(mbox_inbox(&own.user, &own.home, &settings));
    let surroundings = surroundings::Surroundings {
        user: own.user,
        home: own.home,
        spool: own.spool,
        host: "localhost".into(),
        shared: Default::default(),
    };
    findings.extend(mailboxes(surroundings, &settings));
    findings
}

/// Tells whether there is no such file; one that cannot be looked at may be there.
fn is_missing(file: &Path) -> bool {
    fs::symlink_metadata(file).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
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

/// Looks at where new mail is, unless that is in the homes.
fn spool_of_host(settings: &Settings) -> Option<Finding> {
    match &settings.spool {
        None => Some(spool_directory(surroundings::spool_directory())),
        Some(spool) => spool.directory().map(spool_directory),
    }
}

/// The configuration files: all that is wrong with them.
fn configuration(files: &Files, settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in [&files.toml, &files.cf] {
        if file.exists() && !settings.mistakes().any(|mistake| mistake.file == *file) {
            findings.push(Finding::good(format!("{} is obeyed", file.display())));
        }
    }
    for complaint in &settings.complaints {
        let what = complaint.to_string();
        findings.push(match complaint.gravity {
            Gravity::Fatal => Finding::problem(what, "correct it: nobody is served until then"),
            Gravity::Mistake => {
                Finding::problem(what, "correct the line, or remove it if the default suits you")
            }
            Gravity::Note => Finding::note(what, "remove the one that is not meant"),
        });
    }
    findings
}

/// Who can read and change a file of settings: sessions that users start themselves read it with their own rights.
fn access(file: &Path) -> Option<Finding> {
    let mode = fs::metadata(file).ok()?.mode();
    let remedy = format!("chmod 644 {}", file.display());
    if mode & 0o022 != 0 {
        let what = format!("others than root can change {} (mode {:o})", file.display(), mode & 0o7777);
        return Some(Finding::problem(what, remedy));
    }
    let what = format!(
        "users cannot read {}: sessions that they start themselves (over ssh) are refused",
        file.display()
    );
    (mode & 0o004 == 0).then(|| Finding::note(what, remedy))
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

/// Whose INBOX is `~/mbox`, as in the original: mailx makes that file by itself.
fn mbox_inboxes(passwd: &str, settings: &Settings) -> Vec<Finding> {
    let homes = passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        Some((fields.next()?, fields.nth(4)?))
    });
    homes.filter_map(|(user, home)| mbox_inbox(user, Path::new(home), settings)).collect()
}

fn mbox_inbox(user: &str, home: &Path, settings: &Settings) -> Option<Finding> {
    use std::io::Read;
    let mbox = settings.mbox_inbox(home)?;
    let mut start = [0; 5];
    // Neither a FIFO nor a device.
    let found = fs::symlink_metadata(&mbox).ok().filter(fs::Metadata::is_file)?;
    let read = fs::File::open(&mbox).and_then(|mut file| file.read_exact(&mut start));
    (found.len() == 0 || read.is_ok() && &start == b"From ").then(|| {
        Finding::note(
            format!("the INBOX of {user} is {}, and new mail is moved there", mbox.display()),
            "rename that file if mail is to stay in the spool, or set mbox-as-inbox = false in [mailboxes]",
        )
    })
}

/// Opens every mailbox for reading.
fn mailboxes(surroundings: surroundings::Surroundings, settings: &Settings) -> Vec<Finding> {
    let mut environment = match surroundings::environment(surroundings, settings, Confinement::Names) {
        Ok(environment) => environment,
        Err(error) => return vec![Finding::problem(error, "ask the administrator")],
    };
    let complaints = settings.read_users(&mut environment);
    let complain =
        |complaint: &crate::settings::Complaint| Finding::problem(complaint.to_string(), "correct the line");
    let mut findings: Vec<_> = complaints.iter().map(complain).collect();
    let mailboxes = surroundings::mailboxes(environment);
    let mut names = vec![MailboxName::inbox()];
    let mut found = |listed: ailurus_store::Listed| names.push(MailboxName::new(listed.name));
    if let Err(error) = mailboxes.lsub(b"", b"*", &mut found) {
        return vec![Finding::problem(format!("cannot list mailboxes: {error}"), "check the home directory")];
    }
    names.dedup_by(|a, b| a.is_inbox() && b.is_inbox());
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
    let noun = if opened == 1 { "mailbox" } else { "mailboxes" };
    findings.push(Finding::good(format!("{opened} {noun} (INBOX and those subscribed to) can be opened")));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn weights(findings: &[Finding]) -> Vec<Weight> {
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
    fn shared_user_ids_are_noted() {
        let text =
            "root:x:0:0::/root:/bin/sh\ntoor:x:0:0::/root:/bin/sh\nada:x:1000:1::/a:\nben:x:1001:1::/b:\n";
        let findings = accounts(text);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].what, "user id 0 has the names root, toor");
    }

    #[test]
    fn an_inbox_in_mbox_is_noted() {
        let scratch = tempfile::tempdir().expect("a directory");
        let passwd = format!("ada:x:1000:1000:Ada:{}:/bin/sh\nben:x:1001:1001\n", scratch.path().display());
        assert_eq!(mbox_inboxes(&passwd, &Settings::default()), []);
        fs::write(scratch.path().join("mbox"), "notes\n").expect("ours");
        assert_eq!(mbox_inboxes(&passwd, &Settings::default()), []);
        for content in ["", "From ada\n"] {
            fs::write(scratch.path().join("mbox"), content).expect("ours");
            assert_eq!(weights(&mbox_inboxes(&passwd, &Settings::default())), [Weight::Note]);
        }
    }

    #[test]
    fn ports_in_use_are_noted() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let taken = listener.local_addr().expect("bound").port();
        assert_eq!(port(taken).weight, Weight::Note);
    }
}
