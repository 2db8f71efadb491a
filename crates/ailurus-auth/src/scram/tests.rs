use super::*;
use proptest::prelude::*;

/// The user `user` with the password `pencil`, and nobody else.
struct One {
    salt: Vec<u8>,
    iterations: u32,
}

impl VerifierLookup for One {
    fn verifier(&self, user: &[u8], hash: Hash) -> Result<Found, CheckError> {
        if user == b"broken" {
            return Err(CheckError { what: "nothing to read".into(), source: None });
        }
        let verifier = Verifier::with(hash, b"pencil", &self.salt, self.iterations);
        Ok(Found { verifier, known: user == b"user" })
    }
}

/// The exchange of an RFC, whose nonce of the server is not what we would choose.
fn known_answer(
    hash: Hash,
    client_nonce: &str,
    server_nonce: &str,
    salt: &str,
    proof: &str,
    signature: &str,
) {
    let salt_octets = STANDARD.decode(salt).expect("base64");
    let mut scram = Scram::new(hash, Channel::None, b"", One { salt: salt_octets, iterations: 4096 });
    scram.nonce = server_nonce.into();
    assert_eq!(scram.start(None), Step::Challenge(Vec::new()));
    let first = scram.step(format!("n,,n=user,r={client_nonce}").as_bytes());
    let challenge = format!("r={client_nonce}{server_nonce},s={salt},i=4096");
    assert_eq!(first, Step::Challenge(challenge.into_bytes()));
    let last = scram.step(format!("c=biws,r={client_nonce}{server_nonce},p={proof}").as_bytes());
    assert_eq!(last, Step::Challenge(format!("v={signature}").into_bytes()));
    let identity = Identity { authcid: b"user".to_vec(), authzid: None };
    assert_eq!(scram.step(b""), Step::Done(Outcome::Verified(identity)));
    assert_eq!(scram.step(b""), Step::Failed(Failure::Finished));
}

#[test]
fn rfc_5802_example() {
    known_answer(
        Hash::Sha1,
        "fyko+d2lbbFgONRv9qkxdawL",
        "3rfcNHYJY1ZVvWVs7j",
        "QSXCR+Q6sek8bf92",
        "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        "rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    );
}

#[test]
fn rfc_7677_example() {
    known_answer(
        Hash::Sha256,
        "rOprNGfwEbeRWgbNEkqO",
        "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        "W22ZaJ0SNY7soEsUEjb6gQ==",
        "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    );
}

/// A client of these tests: its first message is `header` and the rest; it answers with the right proof of `password`.
fn exchange(channel: Channel, header: &str, data: &[u8], user: &str, password: &[u8]) -> Step {
    let hash = Hash::Sha256;
    let mut scram =
        Scram::new(hash, channel, b"0123456789", One { salt: b"salt".to_vec(), iterations: 4096 });
    let bare = format!("n={user},r=client");
    let challenge = match scram.start(Some(format!("{header}{bare}").as_bytes())) {
        Step::Challenge(challenge) => String::from_utf8(challenge).expect("text"),
        failed => return failed,
    };
    let nonce = challenge.split(',').next().expect("a nonce");
    let binding = STANDARD.encode([header.as_bytes(), data].concat());
    let without_proof = format!("c={binding},{nonce}");
    let signed = format!("{bare},{challenge},{without_proof}");
    let salted = hash.salted_password(password, b"salt", 4096);
    let mut proof = hash.hmac(&salted, b"Client Key");
    let signature = hash.hmac(&hash.digest(&proof), signed.as_bytes());
    proof.iter_mut().zip(signature.iter()).for_each(|(proof, octet)| *proof ^= octet);
    match scram.step(format!("{without_proof},p={}", STANDARD.encode(&proof[..])).as_bytes()) {
        Step::Challenge(last) => {
            let signature = hash.hmac(&hash.hmac(&salted, b"Server Key"), signed.as_bytes());
            assert_eq!(last, format!("v={}", STANDARD.encode(&signature[..])).into_bytes());
            scram.step(b"")
        }
        failed => failed,
    }
}

fn verified(user: &[u8], authzid: Option<&[u8]>) -> Step {
    Step::Done(Outcome::Verified(Identity { authcid: user.to_vec(), authzid: authzid.map(<[u8]>::to_vec) }))
}

#[test]
fn channels_are_bound() {
    let bound = || Channel::Bound(b"exported".to_vec());
    let used = "p=tls-exporter,,";
    assert_eq!(exchange(bound(), used, b"exported", "user", b"pencil"), verified(b"user", None));
    let failed = Step::Failed(Failure::Binding);
    for (channel, header, data) in [
        // Somebody in between has a channel of its own.
        (bound(), used, &b"other"[..]),
        (bound(), used, b""),
        (bound(), "p=tls-unique,,", b"exported"),
        (bound(), "n,,", b""),
        (bound(), "y,,", b""),
        // Somebody has taken the variants that bind out of the list.
        (Channel::Unused, "y,,", b""),
        (Channel::Unused, used, b"exported"),
        (Channel::None, used, b"exported"),
        // The header is part of what is signed.
        (Channel::None, "n,,", b"n,,"),
    ] {
        assert_eq!(exchange(channel, header, data, "user", b"pencil"), failed, "{header} {data:?}");
    }
    assert_eq!(exchange(Channel::None, "y,,", b"", "user", b"pencil"), verified(b"user", None));
    assert_eq!(exchange(Channel::Unused, "n,,", b"", "user", b"pencil"), verified(b"user", None));
}

#[test]
fn wrong_passwords_and_unknown_users_fail_alike() {
    let wrong =
        |name: &str| Step::Failed(Failure::WrongProof(Identity { authcid: name.into(), authzid: None }));
    assert_eq!(exchange(Channel::None, "n,,", b"", "user", b"pen"), wrong("user"));
    assert_eq!(exchange(Channel::None, "n,,", b"", "nobody", b"pencil"), wrong("nobody"));
    let broken = Identity { authcid: b"broken".to_vec(), authzid: None };
    assert_eq!(exchange(Channel::None, "n,,", b"", "broken", b"x"), Step::Failed(Failure::NoSecrets(broken)));
}

#[test]
fn names_are_prepared_and_may_be_anothers() {
    let step = exchange(Channel::None, "n,a=be=2Cn,", b"", "us\u{ad}er", b"pencil");
    assert_eq!(step, verified(b"user", Some(b"be,n")));
    assert_eq!(
        exchange(Channel::None, "n,a=\u{7},", b"", "user", b"pencil"),
        Step::Failed(Failure::Malformed)
    );
    assert_eq!(exchange(Channel::None, "n,,", b"", "\u{627}1", b"pencil"), Step::Failed(Failure::Malformed));
}

#[test]
fn a_proof_of_another_length_or_nonce_is_none() {
    let begin = || {
        let mut scram =
            Scram::new(Hash::Sha1, Channel::None, b"s", One { salt: b"salt".to_vec(), iterations: 4096 });
        assert!(matches!(scram.start(Some(b"n,,n=user,r=c")), Step::Challenge(_)));
        scram
    };
    let wrong = Step::Failed(Failure::WrongProof(Identity { authcid: b"user".to_vec(), authzid: None }));
    for proof in ["", "AAAA", &STANDARD.encode([0; 20]), &STANDARD.encode([0; 21])] {
        assert_eq!(begin().step(format!("c=biws,r=ccw==,p={proof}").as_bytes()), wrong, "{proof}");
    }
    assert_eq!(begin().step(b"c=biws,r=c,p=AAAA"), Step::Failed(Failure::Malformed));
    let long = "r".repeat(1025);
    let mut scram =
        Scram::new(Hash::Sha1, Channel::None, b"s", One { salt: b"s".to_vec(), iterations: 4096 });
    assert_eq!(scram.start(Some(format!("n,,n=u,r={long}").as_bytes())), Step::Failed(Failure::Malformed));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn arbitrary_exchanges_do_not_panic(first: Vec<u8>, last: Vec<u8>) {
        let one = One { salt: b"salt".to_vec(), iterations: 1 };
        let mut scram = Scram::new(Hash::Sha256, Channel::None, b"n", one);
        drop(scram.start(Some(&first)));
        drop(scram.step(&last));
        drop(scram.step(b""));
    }
}
