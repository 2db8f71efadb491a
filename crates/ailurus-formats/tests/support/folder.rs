//! An mh folder whose messages tell which they are.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test program uses a part of this")]

use crate::session::set_times;
use crate::support::*;
use ailurus_formats::Mh;
use ailurus_store::{Extent, Location, Mailbox, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

pub struct Folder {
    pub home: Home,
    pub driver: Mh,
    pub at: Location,
}

impl Folder {
    pub fn new() -> Self {
        let home = Home::new();
        home.put(".mh_profile", b"Path: Mail\n");
        fs::create_dir_all(home.path("Mail/box")).unwrap();
        let driver = Mh::new(home.environment.clone(), home.disk.clone());
        let at = home.special("#mh/box");
        Self { home, driver, at }
    }

    /// A folder with messages 1 to `count`, which mh put there long ago.
    pub fn filled(count: u32) -> Self {
        let folder = Self::new();
        for n in 1..=count {
            folder.deliver(n, n);
        }
        folder
    }

    pub fn file(&self, number: u32) -> PathBuf {
        self.home.path(&format!("Mail/box/{number}"))
    }

    /// Puts message n there under a number, as other programs do.
    pub fn deliver(&self, number: u32, n: u32) {
        fs::write(self.file(number), text(n).replace("\r\n", "\n")).unwrap();
        set_times(&self.file(number), NOW - 1000, NOW - 1000);
    }

    pub fn open(&self) -> Box<dyn Mailbox> {
        open(&self.driver, &self.at).unwrap()
    }

    pub fn append(&self, n: u32) -> u32 {
        append_plain(&self.driver, &self.at, text(n).as_bytes()).unwrap().uids.unwrap().1[0].get()
    }

    pub fn sidecar(&self) -> PathBuf {
        self.home.path("Mail/box/.ailurus-uids")
    }

    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.home.path("Mail/box")).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

pub fn text(n: u32) -> String {
    format!("Subject: {n}\r\n\r\nbody {n}\r\n")
}

/// Returns which message has which UID.
pub fn contents(mailbox: &mut dyn Mailbox) -> Result<BTreeMap<u32, u32>> {
    let mut contents = BTreeMap::new();
    for number in uids_of(mailbox) {
        let whole = String::from_utf8(read_all(mailbox, uid(number), Extent::Whole, 1000)?).unwrap();
        let n = whole.lines().next().unwrap().strip_prefix("Subject: ").unwrap().parse().unwrap();
        assert_eq!(whole, text(n));
        contents.insert(number, n);
    }
    Ok(contents)
}

pub fn pairs(pairs: &[(u32, u32)]) -> BTreeMap<u32, u32> {
    pairs.iter().copied().collect()
}
