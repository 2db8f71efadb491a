//! LOGIN: user name and password in two responses (draft-murchison-sasl-login; never standardised, still in use).
//!
//! COMPAT(imapd): both challenges carry a terminating NUL, since clients compare their base64 form.

use crate::identity::Identity;
use crate::mechanism::{
    Advertised, Authorization, Credentials, Failure, InitialResponse, Mechanism, Needs, Outcome, Plaintext,
    Properties, Step,
};
use crate::secret;

pub(crate) const PROPERTIES: Properties = Properties {
    name: "LOGIN",
    plaintext: Plaintext::Yes,
    advertised: Advertised::InTls,
    initial_response: InitialResponse::Forbidden,
    authorization: Authorization::Star,
    needs: Needs::PasswordCheck,
};

const USER_NAME: &[u8] = b"User Name\0";
const PASSWORD: &[u8] = b"Password\0";

/// The server side of LOGIN.
#[derive(Debug, Default)]
pub struct Login {
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    UserName,
    Password(Identity),
    Finished,
}

impl Login {
    /// Begins an exchange.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Mechanism for Login {
    fn start(&mut self, initial: Option<&[u8]>) -> Step {
        if initial.is_some() {
            self.state = State::Finished;
            return Step::Failed(Failure::InitialResponse);
        }
        Step::Challenge(USER_NAME.to_vec())
    }

    fn step(&mut self, response: &[u8]) -> Step {
        let state = std::mem::replace(&mut self.state, State::Finished);
        if matches!(state, State::Finished) {
            return Step::Failed(Failure::Finished);
        }
        let Some(text) = without_terminator(response) else {
            return Step::Failed(Failure::Malformed);
        };
        match state {
            State::UserName if text.is_empty() => Step::Failed(Failure::Malformed),
            State::UserName => {
                self.state = State::Password(Identity::parse_star(text));
                Step::Challenge(PASSWORD.to_vec())
            }
            State::Password(identity) => {
                let password = secret(text);
                Step::Done(Outcome::Check(Credentials { identity, password }))
            }
            State::Finished => Step::Failed(Failure::Finished),
        }
    }
}

/// Takes off one terminating NUL, which a client may send because our challenges have one; `None` if there are others.
fn without_terminator(response: &[u8]) -> Option<&[u8]> {
    let text = response.strip_suffix(b"\0").unwrap_or(response);
    (!text.contains(&0)).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::encoding::encode_challenge;

    fn run(user: &[u8], password: &[u8]) -> Step {
        let mut login = Login::new();
        assert_eq!(login.start(None), Step::Challenge(b"User Name\0".to_vec()));
        match login.step(user) {
            Step::Challenge(challenge) => assert_eq!(challenge, b"Password\0"),
            failed => return failed,
        }
        login.step(password)
    }

    #[test]
    fn the_challenges_are_those_of_the_transcripts() {
        assert_eq!(encode_challenge(USER_NAME), "VXNlciBOYW1lAA==");
        assert_eq!(encode_challenge(PASSWORD), "UGFzc3dvcmQA");
    }

    #[test]
    fn two_responses_make_credentials() {
        for (user, password) in [(&b"ben*postmgr"[..], &b"mgrpw"[..]), (b"ben*postmgr\0", b"mgrpw\0")] {
            let Step::Done(Outcome::Check(check)) = run(user, password) else { panic!("not done") };
            assert_eq!(check.identity, Identity::parse_star(b"ben*postmgr"));
            assert_eq!(&check.password.expose()[..], b"mgrpw");
        }
    }

    #[test]
    fn bad_exchanges_fail() {
        assert_eq!(Login::new().start(Some(b"ada")), Step::Failed(Failure::InitialResponse));
        assert_eq!(Login::new().start(Some(b"")), Step::Failed(Failure::InitialResponse));
        assert_eq!(run(b"", b"pw"), Step::Failed(Failure::Malformed));
        assert_eq!(run(b"a\0b", b"pw"), Step::Failed(Failure::Malformed));
        assert_eq!(run(b"ada", b"p\0w"), Step::Failed(Failure::Malformed));
        let mut login = Login::new();
        assert_eq!(login.start(Some(b"x")), Step::Failed(Failure::InitialResponse));
        assert_eq!(login.step(b"ada"), Step::Failed(Failure::Finished));
    }

    proptest! {
        #[test]
        fn arbitrary_responses_do_not_panic(user: Vec<u8>, password: Vec<u8>) {
            drop(run(&user, &password));
        }
    }
}
