//! offlineimap3, which keeps folders here and there the same.

use crate::{Stage, assert_changed, change_both_sides, file_of, message, support, texts_without};
use std::fs;
use std::path::Path;
use std::process::Command;
use support::server::Server;
use support::{peer, succeed};

#[test]
fn offlineimap() {
    let Some(offlineimap) = peer::find("offlineimap") else { return };
    let Some(openssl) = peer::find("openssl") else { return };
    for stage in Stage::both() {
        let Server { user, password, port, tls_port, .. } = &stage.server;
        let own = password != support::PASSWORD;
        let store = stage.path("mail");
        fs::create_dir(&store).expect("room for a directory");
        let certificate = stage.user.home().join(".local/state/ailurus/imapd.pem");
        let security = if own {
            let fingerprint = fingerprint(&openssl, &certificate);
            format!("remoteport = {tls_port}\nssl = yes\nstarttls = no\ncert_fingerprint = {fingerprint}\n")
        } else {
            format!("remoteport = {port}\nssl = no\nstarttls = no\n")
        };
        let settings = stage.put(
            "offlineimaprc",
            &format!(
                "[general]\nmetadata = {desk}/state\naccounts = us\nui = basic\nsocktimeout = 30\n[Account us]\nlocalrepository \
                 = near\nremoterepository = far\n[Repository near]\ntype = Maildir\nlocalfolders = {store}\n[Repository far]\ntype = \
                 IMAP\nremotehost = 127.0.0.1\nremoteuser = {user}\nremotepass = {password}\nauth_mechanisms = CRAM-MD5, PLAIN, \
                 LOGIN\n{security}folderfilter = lambda name: name in ('trad', 'shared', 'made-here')\n",
                desk = stage.desk.path().display(),
                store = store.display(),
            ),
        );
        let sync = || {
            let mut command = stage.command(&offlineimap);
            succeed(command.arg("-o").arg("-c").arg(&settings));
        };
        let near = |name: &str| texts_without(&store.join(name), "X-OfflineIMAP: ");
        let all = |numbers: std::ops::RangeInclusive<u32>| numbers.map(message).collect::<Vec<_>>();
        sync();
        sync();
        for name in ["trad", "shared"] {
            assert_eq!(near(name), all(1..=3), "{name}, once each");
        }
        change_both_sides(&stage, &store);
        for folder in ["made-here", "made-here/cur", "made-here/new", "made-here/tmp"] {
            fs::create_dir(store.join(folder)).expect("room");
        }
        fs::write(store.join("made-here/cur/1.own.host:2,S"), message(6)).expect("room for a message");
        for _ in 0..2 {
            sync();
            for name in ["trad", "shared"] {
                assert_changed(&stage, name);
                assert_eq!(near(name), all(2..=5), "{name} there");
            }
            assert_eq!(stage.contents("made-here"), ["number 6 (\\Seen)"]);
            assert_eq!(near("made-here"), all(6..=6));
        }
        // One that is removed here is gone there.
        fs::remove_file(file_of(&store.join("trad"), "number 3")).expect("it is there");
        sync();
        assert_eq!(stage.contents("trad").len(), 3);
        assert!(stage.contents("trad").iter().all(|line| !line.starts_with("number 3")));
    }
}

/// Returns the SHA-256 of a certificate in hexadecimal.
fn fingerprint(openssl: &Path, certificate: &Path) -> String {
    let mut command = Command::new(openssl);
    let text = succeed(command.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]).arg(certificate));
    text.trim().rsplit('=').next().unwrap_or_default().replace(':', "").to_lowercase()
}
