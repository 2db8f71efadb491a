//! PLAIN (RFC 4616): one response, `[authzid] NUL authcid NUL password`.

use crate::identity::Identity;
use crate::mechanism::{
    Advertised, Authorization, Credentials, Failure, InitialResponse, Mechanism, Needs, Outcome, Plaintext,
    Properties, Step,
};
use crate::secret;

pub(crate) const PROPERTIES: Properties = Properties {
    name: "PLAIN",
    plaintext: Plaintext::Yes,
    advertised: Advertised::InTls,
    initial_response: InitialResponse::Allowed,
    authorization: Authorization::Field,
    needs: Needs::PasswordCheck,
};

/// The server side of PLAIN.
#[derive(Debug, Default)]
pub struct Plain {
    finished: bool,
}

impl Plain {
    /// Begins an exchange.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Mechanism for Plain {
    fn step(&mut self, response: &[u8]) -> Step {
        if std::mem::replace(&mut self.finished, true) {
            return Step::Failed(Failure::Finished);
        }
        match parse(response) {
            Some(credentials) => Step::Done(Outcome::Check(credentials)),
            None => Step::Failed(Failure::Malformed),
        }
    }
}

/// Exactly two NULs. An empty authzid means the authcid itself; so does one that is the same.
fn parse(message: &[u8]) -> Option<Credentials> {
    let mut fields = message.split(|&byte| byte == 0);
    let (authzid, authcid, password) = (fields.next()?, fields.next()?, fields.next()?);
    if fields.next().is_some() || authcid.is_empty() {
        return None;
    }
    let authzid = (!authzid.is_empty()).then(|| authzid.to_vec());
    Some(Credentials {
        identity: Identity { authcid: authcid.to_vec(), authzid },
        password: secret(password),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn credentials(step: Step) -> Credentials {
        match step {
            Step::Done(Outcome::Check(credentials)) => credentials,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn rfc_4616_examples() {
        let mut plain = Plain::new();
        assert_eq!(plain.start(None), Step::Challenge(Vec::new()));
        let check = credentials(plain.step(b"\0tim\0tanstaaftanstaaf"));
        assert_eq!(check.identity, Identity { authcid: b"tim".to_vec(), authzid: None });
        assert_eq!(&check.password.expose()[..], b"tanstaaftanstaaf");

        let check = credentials(Plain::new().start(Some(b"Ursel\0Kurt\0xipj3plmq")));
        assert_eq!(check.identity, Identity { authcid: b"Kurt".to_vec(), authzid: Some(b"Ursel".to_vec()) });
        assert_eq!(&check.password.expose()[..], b"xipj3plmq");
    }

    #[test]
    fn anything_but_two_nuls_is_malformed() {
        for bad in [&b""[..], b"ada", b"\0ada", b"\0ada\0pw\0", b"a\0b\0c\0d", b"\0\0pw", b"\0\0"] {
            assert_eq!(
                Plain::new().start(Some(bad)),
                Step::Failed(Failure::Malformed),
                "{}",
                bad.escape_ascii()
            );
        }
    }

    #[test]
    fn an_empty_password_is_left_to_the_check() {
        assert!(credentials(Plain::new().start(Some(b"\0ada\0"))).password.expose().is_empty());
    }

    #[test]
    fn a_star_in_the_name_is_part_of_it() {
        let check = credentials(Plain::new().start(Some(b"\0ben*postmgr\0pw")));
        assert_eq!(check.identity.authcid, b"ben*postmgr");
    }

    #[test]
    fn one_exchange_only() {
        let mut plain = Plain::new();
        drop(credentials(plain.start(Some(b"\0ada\0pw"))));
        assert_eq!(plain.step(b"\0ada\0pw"), Step::Failed(Failure::Finished));
    }

    proptest! {
        #[test]
        fn arbitrary_responses_do_not_panic(response: Vec<u8>) {
            match Plain::new().start(Some(&response)) {
                Step::Done(Outcome::Check(check)) => {
                    let authzid = check.identity.authzid.unwrap_or_default();
                    let printed = [&authzid[..], &check.identity.authcid, check.password.expose()].join(&0);
                    prop_assert_eq!(printed, response);
                }
                step => prop_assert_eq!(step, Step::Failed(Failure::Malformed)),
            }
        }
    }
}
