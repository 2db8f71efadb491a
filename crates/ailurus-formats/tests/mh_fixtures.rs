//! The recorded session of the reference with mh folders.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "support/session.rs"]
mod session;
mod support;

use session::{Session, copy_fixture, recorded, set_times};
use support::*;

const MIDNIGHT: i64 = 1_704_067_200;

/// The home as it was when the session was recorded.
fn home() -> Home {
    let home = Home::new();
    home.put(".mh_profile", b"Path: Mail/mhdir\n");
    std::fs::create_dir_all(home.path("Mail/mhdir/inbox")).unwrap();
    copy_fixture("mh/foo", &home.path("Mail/mhdir/foo"));
    set_times(&home.path("Mail/mhdir/foo/3"), NOW, MIDNIGHT);
    set_times(&home.path("Mail/mhdir/foo/10"), NOW, MIDNIGHT + 3600);
    home
}

/// Where we differ from the reference, and why.
fn ours(line: &str) -> String {
    // UIDs and keywords outlive the session.
    let line = line.replace("nosticky=1", "nosticky=0").replace("kwd_create=0", "kwd_create=1");
    // \Recent is what no session was told of, not what came during this one.
    let line = line.replace("nmsgs=4 recent=0", "nmsgs=4 recent=2");
    if line.contains("uid=11") || line.contains("uid=12") {
        line.replace("flags=S", "flags=Sr")
    } else {
        line
    }
}

#[test]
fn a_session_goes_as_it_was_recorded() {
    let mut session = Session::new(home());
    let recorded = recorded("mh");
    assert_eq!(recorded.len(), 17);
    for step in recorded {
        let mut said = session.run(&step.command);
        let mut wanted: Vec<_> = step.said.iter().map(|line| ours(line)).collect();
        said.retain(|line| !line.ends_with(".ailurus-uids") && line != "spool");
        if !step.command.starts_with("open") && !step.command.starts_with("show") {
            // Directories have no order.
            said.sort();
            wanted.sort();
        }
        assert_eq!(said, wanted, "{}", step.command);
    }
}

#[test]
fn messages_are_shown_with_crlf() {
    let home = home();
    let driver = ailurus_formats::Mh::new(home.environment.clone(), home.disk.clone());
    let at = home.special("#mh/foo");
    let mut mailbox = open(&driver, &at).unwrap();
    for most in [1, 3, 1000] {
        for (number, header, body) in
            [(3, "Subject: a\r\n\r\n", "b\r\n"), (10, "Subject: b\r\n\r\n", "c\r\n")]
        {
            use ailurus_store::Extent;
            let mut read = |extent| {
                String::from_utf8(read_all(&mut *mailbox, uid(number), extent, most).unwrap()).unwrap()
            };
            assert_eq!(read(Extent::Whole), format!("{header}{body}"));
            assert_eq!(read(Extent::Header), header);
            assert_eq!(read(Extent::Text), body);
        }
    }
}
