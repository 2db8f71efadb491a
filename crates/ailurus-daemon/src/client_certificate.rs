//! Certificates of clients (SASL EXTERNAL): whose authorities are believed, and which user a certificate is of.
//!
//! Nothing of it is there unless the settings name a file of authorities: then clients are asked for a certificate, and whoever
//! has none comes in as before. The authorities must certify users of this host and nobody else: a name that they certify *is* a
//! user here.

use crate::settings::Settings;
use crate::tls::der;
use crate::transport::Secured;
use ailurus_server::TlsChannel;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use std::path::Path;
use std::sync::Arc;

/// What of a certificate is the user's name.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum CertificateUser {
    /// The common name of the subject, of which there must be one.
    #[default]
    CommonName,
    /// What is before the @ in the subject's first mail address (rfc822Name).
    Email,
}

/// Returns who vouches for clients.
///
/// # Errors
///
/// The file cannot be read or holds no certificate that could vouch for others; the text says which.
pub fn verifier(
    authorities: &Path,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let bad = |why: String| format!("cannot use {}: {why}", authorities.display());
    let pem = crate::tls::read(authorities).map_err(|error| bad(crate::transport::io_text(&error)))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| bad(error.to_string()))?;
        roots.add(certificate).map_err(|error| bad(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(bad("no certificate in the file".into()));
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .allow_unauthenticated()
        .build()
        .map_err(|error| bad(error.to_string()))
}

/// Returns what a session is told of its TLS channel.
#[must_use]
pub fn channel(secured: &Secured, settings: &Settings) -> TlsChannel {
    let rule = settings.certificate_user.unwrap_or_default();
    let user = secured.certificate.as_deref().and_then(|certificate| user_of(certificate, rule));
    TlsChannel { exporter: secured.exporter, user }
}

/// Returns the user that a certificate is of, if its name can be one.
fn user_of(certificate: &[u8], rule: CertificateUser) -> Option<Vec<u8>> {
    let name = match rule {
        CertificateUser::CommonName => common_name(certificate)?,
        CertificateUser::Email => {
            let address = mail_address(certificate)?;
            &address[..address.iter().rposition(|&octet| octet == b'@')?]
        }
    };
    let good = |octet: &u8| octet.is_ascii_graphic() && *octet != b'*';
    (!name.is_empty() && name.len() < ailurus_auth::attempts::MAX_NAME && name.iter().all(good))
        .then(|| name.to_vec())
}

const SEQUENCE: u8 = 0x30;
const OID: u8 = 0x06;
const COMMON_NAME: &[u8] = b"\x55\x04\x03";
const SUBJECT_ALT_NAME: &[u8] = b"\x55\x1d\x11";

/// Returns what is in `tbsCertificate` (RFC 5280 §4.1) from the subject on.
fn from_subject(certificate: &[u8]) -> Option<&[u8]> {
    let (_, certificate, _) = der(certificate)?;
    let (_, mut rest, _) = der(certificate)?;
    if der(rest)?.0 == 0xa0 {
        rest = der(rest)?.2;
    }
    for _serial_signature_issuer_validity in 0..4 {
        rest = der(rest)?.2;
    }
    Some(rest)
}

/// Returns the subject's common name, if there is exactly one.
fn common_name(certificate: &[u8]) -> Option<&[u8]> {
    let (_, mut subject, _) = der(from_subject(certificate)?)?;
    let mut found = None;
    while !subject.is_empty() {
        let (_, mut set, rest) = der(subject)?;
        subject = rest;
        while !set.is_empty() {
            let (_, attribute, rest) = der(set)?;
            set = rest;
            let (OID, kind, value) = der(attribute)? else { return None };
            if kind == COMMON_NAME {
                // UTF8String, PrintableString, IA5String
                let (0x0c | 0x13 | 0x16, text, _) = der(value)? else { return None };
                if found.replace(text).is_some() {
                    return None;
                }
            }
        }
    }
    found
}

/// Returns the first mail address among the subject's other names.
fn mail_address(certificate: &[u8]) -> Option<&[u8]> {
    let mut rest = from_subject(certificate)?;
    let mut extensions = loop {
        let (tag, content, behind) = der(rest)?;
        if tag == 0xa3 {
            break der(content)?.1;
        }
        rest = behind;
    };
    loop {
        let (SEQUENCE, extension, rest) = der(extensions)? else { return None };
        extensions = rest;
        let (_, kind, mut value) = der(extension)?;
        if kind != SUBJECT_ALT_NAME {
            continue;
        }
        // BOOLEAN: whether the extension is critical.
        if der(value)?.0 == 0x01 {
            value = der(value)?.2;
        }
        let (_, octets, _) = der(value)?;
        let (_, mut names, _) = der(octets)?;
        loop {
            let (tag, name, rest) = der(names)?;
            if tag == 0x81 {
                return Some(name);
            }
            names = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    fn certificate(names: &[&str], addresses: &[&str]) -> Vec<u8> {
        let mut parameters = CertificateParams::new(["h.example".to_owned()]).expect("a name");
        for name in names {
            parameters.distinguished_name.push(DnType::CommonName, *name);
        }
        parameters.distinguished_name.push(DnType::OrganizationName, "Example");
        let address = |text: &&str| SanType::Rfc822Name((*text).try_into().expect("an address"));
        parameters.subject_alt_names.extend(addresses.iter().map(address));
        let key = KeyPair::generate().expect("a key");
        parameters.self_signed(&key).expect("a certificate").der().to_vec()
    }

    #[test]
    fn users_are_found_by_the_rule() {
        let both = certificate(&["ada"], &["ben@example.org", "eve@example.org"]);
        assert_eq!(user_of(&both, CertificateUser::CommonName).as_deref(), Some(&b"ada"[..]));
        assert_eq!(user_of(&both, CertificateUser::Email).as_deref(), Some(&b"ben"[..]));
        let neither = certificate(&[], &[]);
        for rule in [CertificateUser::CommonName, CertificateUser::Email] {
            assert_ne!(user_of(&neither, rule).as_deref(), Some(&b""[..]));
        }
        assert_eq!(user_of(&neither, CertificateUser::Email), None);
        for bad in ["Ada Lovelace", "", "ben*ada", "a\u{e9}", &"x".repeat(65)] {
            assert_eq!(user_of(&certificate(&[bad], &[]), CertificateUser::CommonName), None, "{bad}");
        }
    }

    #[test]
    fn damaged_certificates_are_nobodys() {
        let whole = certificate(&["ada"], &["ada@example.org"]);
        for end in 0..whole.len() {
            for rule in [CertificateUser::CommonName, CertificateUser::Email] {
                drop(user_of(&whole[..end], rule));
            }
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0xff;
            drop(user_of(&damaged, CertificateUser::Email));
        }
    }

    #[test]
    fn a_file_of_authorities_that_is_none_is_told_of() {
        let scratch = tempfile::tempdir().expect("a directory");
        let file = scratch.path().join("ca.pem");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        assert!(verifier(&file, &provider).expect_err("missing").contains("No such file"));
        std::fs::write(&file, "nothing").expect("written");
        assert!(verifier(&file, &provider).expect_err("empty").contains("no certificate in the file"));
        let pem = crate::tls::self_signed(&["h".into()]).expect("made");
        std::fs::write(&file, pem).expect("written");
        assert!(verifier(&file, &provider).is_ok());
    }
}
