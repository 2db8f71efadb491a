//! ANONYMOUS (RFC 4505): the client is nobody, and may say who that is.

use crate::mechanism::{
    Advertised, Authorization, Failure, InitialResponse, Mechanism, Needs, Outcome, Plaintext, Properties,
    Step,
};

pub(crate) const PROPERTIES: Properties = Properties {
    name: "ANONYMOUS",
    plaintext: Plaintext::No,
    advertised: Advertised::Always,
    initial_response: InitialResponse::Allowed,
    authorization: Authorization::Field,
    needs: Needs::AnonymousLogin,
};

/// RFC 4505 §3: 255 characters of UTF-8 at most.
const LONGEST: usize = 255 * 4;

/// The server side of ANONYMOUS.
#[derive(Debug, Default)]
pub struct Anonymous {
    finished: bool,
}

impl Anonymous {
    /// Begins an exchange.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Mechanism for Anonymous {
    fn step(&mut self, response: &[u8]) -> Step {
        if std::mem::replace(&mut self.finished, true) {
            return Step::Failed(Failure::Finished);
        }
        if response.len() > LONGEST {
            return Step::Failed(Failure::Malformed);
        }
        Step::Done(Outcome::Anonymous(response.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trace_may_be_anything_short() {
        let mut anonymous = Anonymous::new();
        assert_eq!(anonymous.start(None), Step::Challenge(Vec::new()));
        assert_eq!(anonymous.step(b"me@x"), Step::Done(Outcome::Anonymous(b"me@x".to_vec())));
        assert_eq!(anonymous.step(b"me@x"), Step::Failed(Failure::Finished));
        assert_eq!(Anonymous::new().start(Some(b"")), Step::Done(Outcome::Anonymous(Vec::new())));
        assert_eq!(Anonymous::new().start(Some(&[b'a'; 1021])), Step::Failed(Failure::Malformed));
    }
}
