//! Chapter 5: what a session may do.

use crate::support::host;
use crate::{ada, bottle, end, login, mode, refused, set_mode};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

/// The rights of the user are the limit; names can be restricted beyond that.
#[test]
fn faq_5_1_any_file_that_the_user_may_read() {
    let Some(bottle) = bottle() else { return };
    set_mode(&bottle.home("ben"), 0o700);
    host::write(&bottle, "ben", "secret", "x\n");
    let mut session = ada(&bottle);
    let client = &mut session.client;
    let lines = client.ok("SELECT /etc/passwd");
    assert!(lines.last().expect("a tagged line").contains("[READ-ONLY]"), "{lines:#?}");
    for name in ["/etc/shadow", "/home/ben/secret", "~ben/secret"] {
        refused(client, &format!("SELECT {name}"));
    }
    refused(client, "CREATE /etc/mailbox");
    end(session);
    bottle.publish("ailurus.toml", "[mailboxes]\nrestrict = [\"all\"]\n");
    set_mode(&bottle.home("ben"), 0o755);
    set_mode(&bottle.home("ben").join("secret"), 0o644);
    let mut session = ada(&bottle);
    for name in ["/etc/passwd", "/home/ben/secret", "~ben/secret", "../ben/secret", "x/../../ben/secret"] {
        refused(&mut session.client, &format!("SELECT {name}"));
        refused(&mut session.client, &format!("CREATE {name}-new"));
    }
    session.client.ok("CREATE mine");
    end(session);
}

/// The lock file of a mailbox is for every program of every user to open; what is in its place is not followed.
#[test]
fn faq_5_5_lock_files_of_all_users() {
    let Some(bottle) = bottle() else { return };
    let shared = bottle.home("shared");
    fs::create_dir(&shared).expect("ours");
    set_mode(&shared, 0o1777);
    let mut session = login(&bottle, "ada");
    session.client.ok("CREATE /home/shared/box");
    set_mode(&shared.join("box"), 0o666);
    session.client.ok("SELECT /home/shared/box");
    let lock = lock_of(&shared.join("box"));
    assert_eq!(mode(&lock), 0o666, "{}", lock.display());
    end(session);
    assert!(!lock.exists());

    // Somebody lays a trap: a link to a file that another user can write.
    let victim = bottle.home("ada").join("victim");
    host::write(&bottle, "ada", "victim", "precious\n");
    fs::remove_file(&lock).ok();
    symlink("/home/ada/victim", &lock).expect("ours");
    let mut session = login(&bottle, "ben");
    session.client.command("SELECT /home/shared/box");
    session.process.await_log("SECURITY PROBLEM: symbolic link on lock name");
    session.client.ok("LOGOUT");
    fs::remove_file(&lock).expect("it is left alone");
    assert_eq!((fs::read_to_string(&victim).expect("there").as_str(), mode(&victim)), ("precious\n", 0o600));
}

fn lock_of(mailbox: &Path) -> PathBuf {
    let metadata = fs::metadata(mailbox).expect("there");
    Path::new("/tmp").join(format!(".{:x}.{:x}", metadata.dev(), metadata.ino()))
}
