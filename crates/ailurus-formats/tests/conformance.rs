//! The formats that the conformance suite is run over; see `ailurus_testkit::conformance`.

use ailurus_testkit::conformance::{Format, mbox_delivery};
use std::path::Path;

ailurus_testkit::conformance! {
    unix: Format { delivery: Some(mbox_delivery), ..Format::of("unix") };
    mbx: Format::of("mbx");
    mix: Format::of("mix");
    mx: Format::of("mx");
    mh: Format { prefix: "#mh/", furnish: write_mh_profile, reference_forgets: true, ..Format::of("mh") };
    mbox: Format { only: Some("INBOX"), furnish: empty_mbox, ..Format::of("mbox") };
    tenex: Format::of("tenex");
    mtx: Format::of("mtx");
    news: Format { only: Some("#news.a.b"), stock: Some(write_articles), ..Format::of("news") };
    mmdf: Format { delivery: Some(mmdf_delivery), reference: Some("\r\n"), ..Format::of("mmdf") };
}

fn empty_mbox(home: &Path) {
    std::fs::write(home.join("mbox"), "").expect("the home is ours");
}

fn write_mh_profile(home: &Path) {
    std::fs::write(home.join(".mh_profile"), "Path: Mail\n").expect("the test's own home");
    std::fs::create_dir(home.join("Mail")).expect("the test's own home");
}

fn write_articles(home: &Path, messages: &[Vec<u8>]) {
    let group = home.join("news/spool/a/b");
    std::fs::create_dir_all(&group).expect("the test's own home");
    for (number, message) in (1..).zip(messages) {
        let text: Vec<u8> = message.iter().copied().filter(|octet| *octet != b'\r').collect();
        std::fs::write(group.join(format!("{number}")), text).expect("the test's own home");
    }
    let active = format!("a.b {:010} 0000000001 y\n", messages.len());
    std::fs::write(home.join("news/active"), active).expect("the test's own home");
}

fn mmdf_delivery(message: &str) -> Vec<u8> {
    let mark = "\u{1}\u{1}\u{1}\u{1}\n";
    format!("{mark}From ada@example.com Sat Feb  1 12:34:56 2025\n{message}{mark}").into_bytes()
}
