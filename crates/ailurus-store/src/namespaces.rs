//! What NAMESPACE tells (RFC 2342; spec/storage-common.md §3.5).

use crate::{Advertise, Environment, Mode};

/// One namespace: its prefix, and its hierarchy delimiter, which is `None` where there is no hierarchy.
pub type Namespace = (&'static str, Option<char>);

/// The namespaces of a user.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Namespaces {
    /// The user's own.
    pub personal: Vec<Namespace>,
    /// Other users'.
    pub other: Vec<Namespace>,
    /// Everybody's.
    pub shared: Vec<Namespace>,
}

const OWN: [Namespace; 3] = [("", Some('/')), ("#mhinbox", None), ("#mh/", Some('/'))];
const WORLD: Namespace = ("/", Some('/'));
const USERS: Namespace = ("~", Some('/'));
const SHARED: Namespace = ("#shared/", Some('/'));
const FTP: Namespace = ("#ftp/", Some('/'));
const NEWS: Namespace = ("#news.", Some('.'));
const PUBLIC: Namespace = ("#public/", Some('/'));

/// Returns the namespaces of the environment's user.
pub(crate) fn namespaces(environment: &Environment) -> Namespaces {
    let mut shared = vec![SHARED, FTP, NEWS, PUBLIC];
    let other = match environment.mode {
        Mode::ClosedBox => return Namespaces { personal: OWN.into(), ..Namespaces::default() },
        Mode::Anonymous => return Namespaces { shared: vec![FTP, NEWS, PUBLIC], ..Namespaces::default() },
        Mode::BlackBox(_) => WORLD,
        Mode::Open => USERS,
    };
    if environment.advertise == Advertise::Limited {
        return Namespaces { personal: OWN.into(), other: Vec::new(), shared: vec![SHARED, PUBLIC] };
    }
    if environment.advertise == Advertise::World && environment.mode == Mode::Open {
        shared.insert(0, WORLD);
    }
    Namespaces { personal: OWN.into(), other: vec![other], shared }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(mode: Mode, advertise: Advertise) -> Namespaces {
        let mut environment = Environment::new("a", "/home/a".into(), "/var/mail/a".into(), "h");
        (environment.mode, environment.advertise) = (mode, advertise);
        namespaces(&environment)
    }

    #[test]
    fn each_mode_has_its_own() {
        let usual = of(Mode::Open, Advertise::Usual);
        assert_eq!(usual.personal, OWN);
        assert_eq!(usual.other, [USERS]);
        assert_eq!(usual.shared, [SHARED, FTP, NEWS, PUBLIC]);
        let world = of(Mode::Open, Advertise::World);
        assert_eq!(world.shared, [WORLD, SHARED, FTP, NEWS, PUBLIC]);
        let black_box = of(Mode::BlackBox("/var/box".into()), Advertise::World);
        assert_eq!((black_box.other, black_box.shared), (vec![WORLD], usual.shared));
        let limited = of(Mode::Open, Advertise::Limited);
        assert_eq!((limited.other, limited.shared), (vec![], vec![SHARED, PUBLIC]));
        let closed = of(Mode::ClosedBox, Advertise::Usual);
        assert_eq!((closed.personal.len(), closed.other.len(), closed.shared.len()), (3, 0, 0));
        let anonymous = of(Mode::Anonymous, Advertise::Usual);
        assert_eq!((anonymous.personal, anonymous.other), (vec![], vec![]));
        assert_eq!(anonymous.shared, [FTP, NEWS, PUBLIC]);
    }
}
