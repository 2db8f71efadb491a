//! EXTERNAL (RFC 4422 appendix A): who the client is, is known already: from its certificate, or because it started us.

use crate::identity::Identity;
use crate::mechanism::{
    Advertised, Authorization, Failure, InitialResponse, Mechanism, Needs, Outcome, Plaintext, Properties,
    Step,
};

pub(crate) const PROPERTIES: Properties = Properties {
    name: "EXTERNAL",
    plaintext: Plaintext::No,
    advertised: Advertised::Always,
    initial_response: InitialResponse::Allowed,
    authorization: Authorization::Field,
    needs: Needs::ExternalIdentity,
};

/// The server side of EXTERNAL.
#[derive(Debug)]
pub struct External {
    /// Who the client is; taken by the one response.
    known: Option<Vec<u8>>,
}

impl External {
    /// Begins an exchange with a client that is known to be this user.
    pub fn new(known: &[u8]) -> Self {
        Self { known: Some(known.to_vec()) }
    }
}

impl Mechanism for External {
    fn step(&mut self, response: &[u8]) -> Step {
        let Some(authcid) = self.known.take() else { return Step::Failed(Failure::Finished) };
        if response.contains(&0) {
            return Step::Failed(Failure::Malformed);
        }
        let authzid = (!response.is_empty()).then(|| response.to_vec());
        Step::Done(Outcome::Verified(Identity { authcid, authzid }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_response_is_the_client_itself() {
        let mut external = External::new(b"ada");
        assert_eq!(external.start(None), Step::Challenge(Vec::new()));
        let own = Identity { authcid: b"ada".to_vec(), authzid: None };
        assert_eq!(external.step(b""), Step::Done(Outcome::Verified(own)));
        assert_eq!(external.step(b""), Step::Failed(Failure::Finished));
        let other = Identity { authcid: b"ada".to_vec(), authzid: Some(b"ben".to_vec()) };
        assert_eq!(External::new(b"ada").start(Some(b"ben")), Step::Done(Outcome::Verified(other)));
        assert_eq!(External::new(b"ada").start(Some(b"b\0n")), Step::Failed(Failure::Malformed));
    }
}
