//! The files that hold passwords of our own making, and which source of passwords is asked when.
//!
//! There are up to three, and for a password that is sent as it is typed the first that has something to say decides:
//!
//! 1. `/etc/cram-md5.pwd`, for the users who have an entry in it;
//! 2. `/etc/ailurus.passwd`, for the users who have an entry in it;
//! 3. the system (PAM, else shadow), for all others, unless there is a `/etc/cram-md5.pwd`: its presence says that the system's
//!    passwords are not for mail (spec/auth.md §1).
//!
//! CRAM-MD5 and APOP know the first, SCRAM the second; both are read anew for every look-up, before rights are given up.

use crate::protocol::Protocol;
use ailurus_auth::scram::{Found, Hash};
use ailurus_auth::{CheckError, CramDatabase, PasswordDatabase, SecretLookup, VerifierLookup};
use ailurus_sys::pam;
use ailurus_types::Secret;
use std::io;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The database of shared secrets of a mail host.
pub const CRAM_DATABASE: &str = "/etc/cram-md5.pwd";
/// The database of verifiers of a mail host.
pub const PASSWORD_DATABASE: &str = "/etc/ailurus.passwd";
/// Where files of PAM services are.
pub const PAM_DIRECTORIES: [&str; 3] = ["/etc/pam.d", "/usr/lib/pam.d", "/usr/local/etc/pam.d"];

/// Where passwords of system users are checked who have no entry in the database of verifiers, decided once at the start.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Passwords {
    /// The database of CRAM-MD5 is there, and the system's passwords do not count (spec/auth.md §1).
    Database(PathBuf),
    /// PAM, with this service name.
    Pam(&'static str),
    /// passwd and shadow.
    Shadow,
}

impl Passwords {
    /// Looks at the host, for a protocol.
    #[must_use]
    pub fn of_host(protocol: Protocol) -> Self {
        if Path::new(CRAM_DATABASE).exists() {
            return Self::Database(CRAM_DATABASE.into());
        }
        let service = protocol.pam_service();
        let configured = PAM_DIRECTORIES.iter().any(|d| Path::new(d).join(service).exists());
        if configured && pam::available() { Self::Pam(service) } else { Self::Shadow }
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
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn read(&self) -> Result<CramDatabase, CheckError> {
        Ok(CramDatabase::parse(&read(&self.0)?))
    }
}

impl SecretLookup for SecretFile {
    fn secret(&self, user: &[u8]) -> Result<Option<Secret<Zeroizing<Vec<u8>>>>, CheckError> {
        self.read()?.secret(user)
    }
}

/// A database of verifiers that is read anew for every look-up.
#[derive(Clone, Debug)]
pub struct VerifierFile(pub PathBuf);

impl VerifierFile {
    /// Returns the file if it is there: SCRAM is then to be offered.
    #[must_use]
    pub fn existing(path: impl Into<PathBuf>) -> Option<Self> {
        let path = path.into();
        path.exists().then_some(Self(path))
    }

    /// Reads the file.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn read(&self) -> Result<PasswordDatabase, CheckError> {
        Ok(PasswordDatabase::parse(&read(&self.0)?))
    }
}

impl VerifierLookup for VerifierFile {
    fn verifier(&self, user: &[u8], hash: Hash) -> Result<Found, CheckError> {
        self.read()?.verifier(user, hash)
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, CheckError> {
    std::fs::read(path).map(Zeroizing::new).map_err(|error| CheckError {
        what: format!("cannot read {}", path.display()),
        source: Some(Box::new(error)),
    })
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
