//! The formats that the conformance suite is run over; see `ailurus_testkit::conformance`.

use ailurus_testkit::conformance::{Format, mbox_delivery};
use std::path::Path;

ailurus_testkit::conformance! {
    unix: Format { delivery: Some(mbox_delivery), ..Format::of("unix") };
    mbx: Format::of("mbx");
    mix: Format::of("mix");
    mx: Format::of("mx");
    mh: Format { prefix: "#mh/", furnish: write_mh_profile, ..Format::of("mh") };
    mbox: Format { only: Some("INBOX"), furnish: empty_mbox, ..Format::of("mbox") };
    tenex: Format::of("tenex");
    mtx: Format::of("mtx");
    mmdf: Format { delivery: Some(mmdf_delivery), ..Format::of("mmdf") };
}

fn empty_mbox(home: &Path) {
    std::fs::write(home.join("mbox"), "").expect("the home is ours");
}

fn write_mh_profile(home: &Path) {
    std::fs::write(home.join(".mh_profile"), "Path: Mail\n").expect("the test's own home");
    std::fs::create_dir(home.join("Mail")).expect("the test's own home");
}

fn mmdf_delivery(message: &str) -> Vec<u8> {
    let mark = "\u{1}\u{1}\u{1}\u{1}\n";
    format!("{mark}From ada@example.com Sat Feb  1 12:34:56 2025\n{message}{mark}").into_bytes()
}
