//! Certificates by the reference's conventions (spec/auth.md §7), and the TLS settings of all our servers.
//!
//! Which certificate a connection gets is a question of files alone: `SERVER-ADDRESS.pem` for the local address that
//! it came to, else `SERVER.pem`; beyond the reference, `SERVER-NAME.pem` for the name that the client asks for (SNI)
//! goes before both. Each connection reads them anew, so that a renewed certificate needs no restart.

use crate::client_certificate;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where certificates and keys are looked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateStore {
    /// Directories of certificates and of keys, pair by pair; the first pair that has a certificate is used.
    pub directories: Vec<(PathBuf, PathBuf)>,
    /// The base name of the files: that of the program, `imapd`.
    pub server: String,
}

/// The files of one certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateFiles {
    /// The chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// The private key, unencrypted; may be the same file.
    pub key: PathBuf,
}

impl CertificateStore {
    /// Returns the places of the usual builds: Debian's, Fedora's and the original's own.
    #[must_use]
    pub fn system(server: &str) -> Self {
        let pair = |certificates: &str, keys: &str| (certificates.into(), keys.into());
        Self {
            directories: vec![
                pair("/etc/ssl/certs", "/etc/ssl/private"),
                pair("/etc/pki/tls/certs", "/etc/pki/tls/private"),
                pair("/usr/local/ssl/certs", "/usr/local/ssl/certs"),
            ],
            server: server.into(),
        }
    }

    /// Returns a store of one directory for both.
    #[must_use]
    pub fn directory(directory: &Path, server: &str) -> Self {
        Self { directories: vec![(directory.into(), directory.into())], server: server.into() }
    }

    /// Returns the files for a connection to this local address; `None` if there is no certificate.
    #[must_use]
    pub fn find(&self, local: Option<IpAddr>) -> Option<CertificateFiles> {
        let suffixes = local.iter().map(|address| format!("-{address}")).chain([String::new()]);
        self.first_of(suffixes)
    }

    /// Returns the files for the name that a client asked for, if there are any.
    fn find_name(&self, name: &str) -> Option<CertificateFiles> {
        // rustls lets DNS names through only; the file system's own marks are none of theirs.
        let plain = name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet));
        self.first_of(plain.then(|| format!("-{}", name.to_ascii_lowercase())))
    }

    fn first_of(&self, suffixes: impl IntoIterator<Item = String>) -> Option<CertificateFiles> {
        let names: Vec<_> =
            suffixes.into_iter().map(|suffix| format!("{}{suffix}.pem", self.server)).collect();
        self.directories.iter().find_map(|(certificates, keys)| {
            let first = |directory: &Path| names.iter().map(|n| directory.join(n)).find(|path| path.exists());
            let certificate = first(certificates)?;
            let key = first(keys).unwrap_or_else(|| certificate.clone());
            Some(CertificateFiles { certificate, key })
        })
    }

    /// Returns the files of all certificates that some connection can get: the usual one, those of addresses, those of
    /// names.
    #[must_use]
    pub fn all(&self) -> Vec<CertificateFiles> {
        let mut suffixes = Vec::new();
        for (certificates, _) in &self.directories {
            for entry in std::fs::read_dir(certificates).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let suffix = name.strip_prefix(&self.server).and_then(|rest| rest.strip_suffix(".pem"));
                suffixes.extend(suffix.filter(|s| s.is_empty() || s.starts_with('-')).map(str::to_owned));
            }
        }
        suffixes.sort();
        suffixes.dedup();
        let of = |suffix: String| match suffix.strip_prefix('-').map(str::parse::<IpAddr>) {
            Some(Ok(address)) => self.find(Some(address)),
            Some(Err(_)) => self.first_of([suffix]),
            None => self.find(None),
        };
        suffixes.into_iter().filter_map(of).collect()
    }

    /// Returns the file that would be used first, for messages that say what is missing.
    #[must_use]
    pub fn expected(&self) -> PathBuf {
        let directory = self.directories.first().map_or(Path::new("/"), |pair| &pair.0);
        directory.join(format!("{}.pem", self.server))
    }
}

/// Why a certificate cannot be used. `Display` is the reference's log text up to `, host=`.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The certificate file.
    #[error("Unable to load certificate from {}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The key file, or the key does not belong to the certificate.
    #[error("Unable to load private key from {}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The file of those who vouch for clients.
    #[error("Unable to load certificates of authorities from {}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// TLS itself.
    #[error("Unable to create SSL context")]
    Context(#[from] rustls::Error),
}

impl CertificateError {
    /// Returns what is wrong, without what was tried.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Certificate { why, .. } | Self::Key { why, .. } | Self::Authorities { why, .. } => {
                why.clone()
            }
            Self::Context(error) => error.to_string(),
        }
    }
}

/// Reads a certificate with its key, and checks that they belong together.
///
/// # Errors
///
/// The files cannot be read, are not PEM, hold no certificate or no unencrypted key, or do not match.
pub fn load(files: &CertificateFiles) -> Result<CertifiedKey, CertificateError> {
    let chain = read_chain(&files.certificate)?;
    let bad_key = |why: String| CertificateError::Key { path: files.key.clone(), why };
    let pem = read(&files.key).map_err(|error| bad_key(crate::transport::io_text(&error)))?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => {
            bad_key("no unencrypted private key in the file".into())
        }
        other => bad_key(other.to_string()),
    })?;
    let key = aws_lc_rs::sign::any_supported_type(&key).map_err(|error| bad_key(error.to_string()))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(_)) => Err(bad_key("key and certificate do not match".into())),
        Err(other) => {
            Err(CertificateError::Certificate { path: files.certificate.clone(), why: other.to_string() })
        }
    }
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let bad = |why: String| CertificateError::Certificate { path: path.into(), why };
    let pem = read(path).map_err(|error| bad(crate::transport::io_text(&error)))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.map_err(|error| bad(error.to_string()))?;
    if chain.is_empty() { Err(bad("no certificate in the file".into())) } else { Ok(chain) }
}

/// No certificate is larger; a device file would never end.
const MOST_PEM: u64 = 1 << 20;

pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read;
    let mut pem = Vec::new();
    std::fs::File::open(path)?.take(MOST_PEM).read_to_end(&mut pem)?;
    Ok(pem)
}

/// Returns the settings of a connection to this local address; `clients` is the file of the authorities that vouch for
/// certificates of clients, which are not asked for without.
///
/// # Errors
///
/// As [`load`]; where there is no certificate at all, the error names the file that was expected.
pub fn server_config(
    store: &CertificateStore,
    local: Option<IpAddr>,
    clients: Option<&Path>,
) -> Result<Arc<rustls::ServerConfig>, CertificateError> {
    let files = store
        .find(local)
        .unwrap_or_else(|| CertificateFiles { certificate: store.expected(), key: store.expected() });
    let resolver = Resolver { store: store.clone(), usual: Arc::new(load(&files)?) };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = match clients {
        Some(authorities) => client_certificate::verifier(authorities, &provider)
            .map_err(|why| CertificateError::Authorities { path: authorities.into(), why })?,
        None => WebPkiClientVerifier::no_client_auth(),
    };
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(resolver));
    config.max_fragment_size = Some(MAX_PLAINTEXT + RECORD_HEADER);
    // Each connection is a process of its own: nobody could redeem a ticket.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(Arc::new(config))
}

/// Old clients hang on larger records (FAQ 6.7, 7.43), in octets of plaintext.
const MAX_PLAINTEXT: usize = 8192;
/// rustls counts it as part of the fragment.
const RECORD_HEADER: usize = 5;

struct Resolver {
    store: CertificateStore,
    usual: Arc<CertifiedKey>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| self.store.find_name(name));
        let named = named.and_then(|files| load(&files).ok()).map(Arc::new);
        Some(named.unwrap_or_else(|| Arc::clone(&self.usual)))
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

/// Returns a new certificate for these names, signed by itself and good for two years, with its key, as one PEM file.
///
/// # Errors
///
/// A name is none, or no key could be made.
pub fn self_signed(names: &[String]) -> Result<String, rcgen::Error> {
    let mut parameters = rcgen::CertificateParams::new(names)?;
    parameters.distinguished_name.push(rcgen::DnType::CommonName, names.first().map_or("", String::as_str));
    parameters.distinguished_name.push(rcgen::DnType::OrganizationName, SELF_MADE);
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let midnight = |days: i64| {
        let day = today.saturating_add(jiff::Span::new().days(days));
        rcgen::date_time_ymd(day.year().into(), day.month().unsigned_abs(), day.day().unsigned_abs())
    };
    // From a day ago, since clocks differ; to two years on, since some clients refuse more than 825 days.
    parameters.not_before = midnight(-1);
    parameters.not_after = midnight(730);
    let key = rcgen::KeyPair::generate()?;
    Ok(parameters.self_signed(&key)?.pem() + &key.serialize_pem())
}

/// The organisation in certificates that we make.
const SELF_MADE: &str = "made by ailurus for itself";

/// Tells whether a certificate is one that [`self_signed`] made.
#[must_use]
pub fn is_self_made(certified: &CertifiedKey) -> bool {
    let mark = SELF_MADE.as_bytes();
    certified.end_entity_cert().is_ok_and(|der| der.windows(mark.len()).any(|octets| octets == mark))
}

/// Returns from when to when the server's certificate is valid, in seconds since 1970; `None` if it cannot be read.
#[must_use]
pub fn validity(certified: &CertifiedKey) -> Option<(i64, i64)> {
    let certificate = certified.end_entity_cert().ok()?;
    // RFC 5280 §4.1: Certificate ::= SEQUENCE { tbsCertificate SEQUENCE { [0] version, serialNumber, signature, issuer,
    // validity SEQUENCE { notBefore, notAfter }, … } … }
    let (_, certificate, _) = der(certificate)?;
    let (_, mut rest, _) = der(certificate)?;
    if der(rest)?.0 == 0xa0 {
        rest = der(rest)?.2;
    }
    for _serial_signature_issuer in 0..3 {
        rest = der(rest)?.2;
    }
    let (_, validity, _) = der(rest)?;
    let (tag, from, rest) = der(validity)?;
    let from = der_time(tag, from)?;
    let (tag, to, _) = der(rest)?;
    Some((from, der_time(tag, to)?))
}

/// Splits a DER element off: its tag, its content, what follows it.
pub(crate) fn der(octets: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = octets.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first & 0x80 != 0 {
        let (digits, after) = rest.split_at_checked(usize::from(first & 0x7f).min(5))?;
        length = digits.iter().fold(0, |length, &digit| length << 8 | usize::from(digit));
        rest = after;
    }
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// Reads UTCTime (`YYMMDDhhmmssZ`) or GeneralizedTime (`YYYYMMDDhhmmssZ`).
fn der_time(tag: u8, text: &[u8]) -> Option<i64> {
    let mut text = std::str::from_utf8(text).ok()?.to_owned();
    if tag == 0x17 {
        let century = if text.as_str() < "5" { "20" } else { "19" };
        text.insert_str(0, century);
    }
    let time = jiff::civil::DateTime::strptime("%Y%m%d%H%M%SZ", &text).ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const DAY: i64 = 86_400;

    fn write_pair(directory: &Path, name: &str) {
        let pem = self_signed(&[name.to_owned()]).expect("a certificate");
        fs::write(directory.join(name), pem).expect("a writable directory");
    }

    #[test]
    fn files_are_found_by_address_then_by_server_alone() {
        let scratch = tempfile::tempdir().expect("a directory");
        let store = CertificateStore::directory(scratch.path(), "imapd");
        let local: IpAddr = "192.0.2.1".parse().expect("an address");
        assert_eq!(store.find(Some(local)), None);
        write_pair(scratch.path(), "imapd.pem");
        let usual = store.find(Some(local)).expect("the usual one");
        assert_eq!(usual.certificate, scratch.path().join("imapd.pem"));
        write_pair(scratch.path(), "imapd-192.0.2.1.pem");
        let found = store.find(Some(local)).expect("the address's own");
        assert_eq!(found.certificate, scratch.path().join("imapd-192.0.2.1.pem"));
        assert_eq!(store.find(None).expect("the usual one"), usual);
        assert_eq!(store.find_name("../imapd"), None);
        write_pair(scratch.path(), "imapd-mail.example.pem");
        assert!(store.find_name("Mail.Example").is_some());
        write_pair(scratch.path(), "imapd2.pem");
        let all: Vec<_> = store.all().into_iter().map(|files| files.certificate).collect();
        let names = ["imapd.pem", "imapd-192.0.2.1.pem", "imapd-mail.example.pem"];
        assert_eq!(all, names.map(|name| scratch.path().join(name)));
    }

    #[test]
    fn the_key_may_be_in_a_directory_of_its_own() {
        let scratch = tempfile::tempdir().expect("a directory");
        let keys = scratch.path().join("private");
        fs::create_dir(&keys).expect("a directory");
        let pem = self_signed(&["localhost".into()]).expect("a certificate");
        let (certificate, key) = pem.split_at(pem.find("-----BEGIN PRIVATE").expect("a key"));
        fs::write(scratch.path().join("imapd.pem"), certificate).expect("written");
        let store = CertificateStore {
            directories: vec![("/nonexistent".into(), keys.clone()), (scratch.path().into(), keys.clone())],
            server: "imapd".into(),
        };
        let files = store.find(None).expect("the certificate");
        assert_eq!(files.key, files.certificate);
        let error = load(&files).expect_err("no key yet");
        assert_eq!(error.to_string(), format!("Unable to load private key from {}", files.key.display()));
        assert_eq!(error.reason(), "no unencrypted private key in the file");
        fs::write(keys.join("imapd.pem"), key).expect("written");
        load(&store.find(None).expect("both")).expect("a pair");
    }

    #[test]
    fn bad_files_say_which_and_why() {
        let scratch = tempfile::tempdir().expect("a directory");
        let store = CertificateStore::directory(scratch.path(), "imapd");
        let error = server_config(&store, None, None).expect_err("no file");
        let path = scratch.path().join("imapd.pem");
        assert_eq!(error.to_string(), format!("Unable to load certificate from {}", path.display()));
        assert_eq!(error.reason(), "No such file or directory");
        fs::write(&path, "no certificate\n").expect("written");
        assert_eq!(
            server_config(&store, None, None).expect_err("none").reason(),
            "no certificate in the file"
        );
        let one = self_signed(&["one".into()]).expect("a certificate");
        let two = self_signed(&["two".into()]).expect("a certificate");
        let split = |pem: &str| pem.find("-----BEGIN PRIVATE").expect("a key");
        fs::write(&path, [&one[..split(&one)], &two[split(&two)..]].concat()).expect("written");
        assert_eq!(
            server_config(&store, None, None).expect_err("mixed").reason(),
            "key and certificate do not match"
        );
    }

    #[test]
    fn validity_is_read() {
        let scratch = tempfile::tempdir().expect("a directory");
        write_pair(scratch.path(), "imapd.pem");
        let files = CertificateStore::directory(scratch.path(), "imapd").find(None).expect("there");
        let (from, to) = validity(&load(&files).expect("good")).expect("readable");
        let now = jiff::Timestamp::now().as_second();
        assert!(from <= now && now - from < 3 * DAY, "{from}");
        assert!((700 * DAY..825 * DAY).contains(&(to - now)), "{to}");
        assert_eq!(der_time(0x17, b"491231235959Z"), Some(2_524_607_999));
        assert_eq!(der_time(0x17, b"500101000000Z"), Some(-631_152_000));
        assert_eq!(der(b"\x30\x84\xff\xff\xff\xff"), None);
    }
}
