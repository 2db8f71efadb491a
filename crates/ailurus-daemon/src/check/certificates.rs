//! The certificates of this host.

use super::Finding;
use crate::client_certificate;
use crate::settings::Settings;
use crate::tls::{self, CertificateFiles, CertificateStore};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Looks at every certificate that some connection can get.
pub(super) fn certificates(store: &CertificateStore, now: i64) -> Vec<Finding> {
    let all = store.all();
    if all.is_empty() {
        return vec![Finding::problem(
            format!(
                "no certificate: {} does not exist; there is no TLS, and passwords are taken from this host only",
                store.expected().display()
            ),
            "put the certificate chain there and the key beside it or into the directory of keys, as one PEM file each",
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

/// Looks at who vouches for certificates of clients, if anybody does.
pub(super) fn client_authorities(settings: &Settings) -> Option<Finding> {
    let file = settings.client_ca.as_ref()?;
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Some(match client_certificate::verifier(file, &provider) {
        Ok(_) => Finding::good(format!("clients' certificates by those in {}", file.display())),
        Err(why) => Finding::problem(
            format!("{why}: clients are asked for no certificate"),
            "client-ca names a PEM file with the certificates of those who certify users",
        ),
    })
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

#[cfg(test)]
mod tests {
    use super::super::Weight;
    use super::super::tests::weights;
    use super::*;
    use std::os::unix::fs::PermissionsExt;

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
    fn authorities_of_clients_are_judged() {
        let scratch = tempfile::tempdir().expect("a directory");
        let mut settings = Settings::default();
        assert_eq!(client_authorities(&settings), None);
        let file = scratch.path().join("ca.pem");
        settings.client_ca = Some(file.clone());
        let weight = |settings| client_authorities(settings).expect("there is one").weight;
        assert_eq!(weight(&settings), Weight::Problem);
        fs::write(&file, tls::self_signed(&["h".into()]).expect("made")).expect("written");
        assert_eq!(weight(&settings), Weight::Good);
    }

    #[test]
    fn every_certificate_is_looked_at() {
        let scratch = tempfile::tempdir().expect("a directory");
        let store = CertificateStore::directory(scratch.path(), "imapd");
        let now = jiff::Timestamp::now().as_second();
        fs::write(scratch.path().join("imapd-192.0.2.1.pem"), "nothing").expect("written");
        assert_eq!(weights(&certificates(&store, now)), [Weight::Problem, Weight::Note]);
    }
}
