//! `ailurus verify` and `ailurus repair` as a person calls them.

use crate::support::{ordinary, scratch};
use std::fs;
use std::path::Path;

/// Runs the program in a home; returns its exit status and all that it said.
fn run(home: &Path, arguments: &[&str]) -> (i32, String) {
    let output = ordinary("ailurus", home).args(arguments).output().expect("started");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().expect("it ends by itself"), String::from_utf8_lossy(&said).into_owned())
}

fn sample(path: &str) -> Vec<u8> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    fs::read(fixtures.join(path)).expect("a sample")
}

/// Puts a sample into a home, as a file of the home's user.
fn put(home: &Path, name: &str, content: &[u8]) {
    fs::write(home.join(name), content).expect("ours");
    if crate::support::is_root() {
        let nobody = Some(crate::support::NOBODY);
        std::os::unix::fs::chown(home.join(name), nobody, nobody).expect("ours");
    }
}

#[test]
fn verify_says_what_is_wrong_and_where() {
    let home = scratch();
    put(home.path(), "good", &sample("unix/03-flags-keywords"));
    put(home.path(), "bad", &sample("mbx/20-f-bad-header"));
    put(home.path(), "worse", &[&b"junk\n"[..], &sample("unix/03-flags-keywords")].concat());
    put(home.path(), "notes", b"plain text\n");
    let (status, said) = run(home.path(), &["verify", "good", "notes"]);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("good (unix): nothing is wrong"), "{said}");
    let (status, said) = run(home.path(), &["verify", "good", "bad"]);
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("/bad: damage at octet 2121: Unable to parse internal header at 2121"), "{said}");
    let (status, said) = run(home.path(), &["verify", "worse"]);
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("'#driver.unix/worse'"), "{said}");
    let path = home.path().join("bad");
    let (status, said) = run(home.path(), &["verify", path.to_str().expect("text"), "nothing"]);
    assert_eq!(status, 2, "{said}");
    assert!(said.contains("no such mailbox: nothing") && said.contains("damaged in 1 place"), "{said}");
    assert_eq!(run(home.path(), &["verify"]).0, 2);
}

#[test]
fn repair_shows_first_and_applies_when_told() {
    let home = scratch();
    let damaged = [&b"junk\n"[..], &sample("unix/03-flags-keywords")].concat();
    put(home.path(), "mail", &damaged);
    let (status, said) = run(home.path(), &["repair", "mail"]);
    assert!(status == 2 && said.contains("'#driver.unix/mail'"), "{said}");
    let (status, said) = run(home.path(), &["repair", "#driver.unix/mail"]);
    assert_eq!(status, 1, "{said}");
    for part in
        ["damage at octet 0", "kept as they were: 4.", "/mail.salvaged.", "octets 0 to 5", "is as it was"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(fs::read(home.path().join("mail")).expect("there"), damaged);
    assert_eq!(fs::read(home.path().join("mail.leftover")).expect("there"), b"junk\n");
    let (status, said) = run(home.path(), &["repair", "--apply", "#driver.unix/mail"]);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("/mail.damaged."), "{said}");
    assert_eq!(fs::read(home.path().join("mail.damaged")).expect("there"), damaged);
    assert_eq!(run(home.path(), &["verify", "mail"]).0, 0);
    let (status, said) = run(home.path(), &["repair", "mail"]);
    assert_eq!((status, said.as_str()), (0, "mail: nothing to repair.\n"));
}

#[test]
fn what_is_no_damaged_mailbox_is_left_alone() {
    let home = scratch();
    let sound = sample("mbx/02-appended");
    put(home.path(), "sound", &sound);
    put(home.path(), "notes", b"plain text\n");
    put(home.path(), "empty", b"");
    fs::create_dir(home.path().join("folder")).expect("ours");
    for (name, status, part) in [
        // All of it would be left over.
        ("#driver.unix/sound", 2, "it is a mailbox of mbx format without damage, not one of unix format"),
        ("notes", 2, "if it was a mailbox, name its format: '#driver.FORMAT/notes'"),
        ("empty", 0, "empty: nothing to repair."),
        ("folder", 2, "not a selectable mailbox: folder"),
        ("nothing", 2, "repair: no such mailbox: nothing"),
    ] {
        let (code, said) = run(home.path(), &["repair", "--apply", name]);
        assert!(code == status && said.contains(part), "{name}: {code} {said}");
    }
    assert_eq!(fs::read(home.path().join("sound")).expect("there"), sound);
    assert_eq!(
        fs::read_dir(home.path())
            .expect("there")
            .filter(|entry| {
                let name = entry.as_ref().expect("there").file_name();
                name.to_string_lossy().contains(".salvaged") || name.to_string_lossy().contains(".damaged")
            })
            .count(),
        0
    );
}
