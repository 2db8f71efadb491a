//! All formats of this crate in the order in which they are asked.

use crate::disk::Disk;
use crate::dummy::Dummy;
use crate::mbox::Mbox;
use crate::mbx::Mbx;
use crate::mh::Mh;
use crate::mix::Mix;
use crate::mtx::Mtx;
use crate::mx::Mx;
use crate::new_mail::NewMail;
use crate::news::News;
use crate::phile::Phile;
use crate::unix::Unix;
use ailurus_store::{Driver, Environment};
use std::sync::Arc;

/// The formats in which mailboxes of any name can be made, for settings that name one.
pub const CREATABLE: [&str; 8] = ["unix", "mix", "mx", "mbx", "tenex", "mtx", "mh", "mmdf"];

/// Returns the drivers in the reference's order: the first that claims a mailbox has it.
#[must_use]
pub fn drivers(environment: &Arc<Environment>, disk: &Arc<dyn Disk>) -> Vec<Arc<dyn Driver>> {
    let (env, disk) = (|| Arc::clone(environment), || Arc::clone(disk));
    let new_mail = NewMail::new(env(), disk());
    vec![
        new_mail.into_inbox_of(Arc::new(Mbox::new(env(), disk()))),
        new_mail.into_inbox_of(Arc::new(Mix::new(env(), disk()))),
        new_mail.into_inbox_of(Arc::new(Mx::new(env(), disk()))),
        new_mail.into_inbox_of(Arc::new(Mbx::new(env(), disk()))),
        new_mail.into_inbox_of(Arc::new(Mtx::tenex(env(), disk()))),
        new_mail.into_inbox_of(Arc::new(Mtx::new(env(), disk()))),
        new_mail.into_inbox_of(Arc::new(Mh::new(env(), disk()))),
        Arc::new(Unix::mmdf(environment.as_ref().clone(), disk())),
        Arc::new(Unix::new(environment.as_ref().clone(), disk())),
        Arc::new(News::new(env(), disk())),
        Arc::new(Phile::new(env(), disk())),
        Arc::new(Dummy::new(env(), disk())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Os;

    #[test]
    fn the_order_is_the_references() {
        let environment = Environment::new("alice", "/home".into(), "/spool".into(), "mail.example.com");
        let drivers = drivers(&Arc::new(environment), &Os::shared());
        let names: Vec<_> = drivers.iter().map(|driver| driver.name()).collect();
        let expected =
            ["mbox", "mix", "mx", "mbx", "tenex", "mtx", "mh", "mmdf", "unix", "news", "phile", "dummy"];
        assert_eq!(names, expected);
        for driver in &drivers {
            let (name, creatable) = (driver.name(), driver.abilities().creatable);
            // mbox makes INBOX, and nothing else.
            assert_eq!(CREATABLE.contains(&name), creatable && name != "mbox", "{name}");
        }
        assert!(CREATABLE.iter().all(|format| names.contains(format)));
    }
}
