//! What clients say in SCRAM, and the database of verifiers.

use ailurus_auth::scram::{Channel, Hash};
use ailurus_auth::{Mechanism, Outcome, PasswordDatabase, PasswordEditor, Scram, Step, VerifierLookup};

/// A line of the database: the password is `pencil`, of which nobody here knows a proof.
const DATABASE: &str = "user\tSCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
    WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=\n";

/// Lines are the messages of a client, of which none proves anything.
///
/// # Panics
///
/// If one does, or the exchange goes on behind its end.
pub fn scram_messages(input: &[u8]) {
    for channel in [Channel::None, Channel::Unused, Channel::Bound(b"channel".to_vec())] {
        let database = PasswordDatabase::parse(DATABASE.as_bytes());
        let mut scram = Scram::new(Hash::Sha256, channel, b"nonce", database);
        let mut over = false;
        for (number, message) in input.split(|&octet| octet == b'\n').enumerate().take(5) {
            let step = if number == 0 { scram.start(Some(message)) } else { scram.step(message) };
            match step {
                Step::Challenge(challenge) => {
                    assert!(!over, "it was over");
                    // A client's nonce is sent back, and no more of what it said.
                    assert!(challenge.len() < 1024 + 200 && challenge.is_ascii());
                }
                Step::Done(Outcome::Verified(identity)) => panic!("{identity:?} is proven"),
                Step::Done(_) => panic!("no password was sent"),
                Step::Failed(_) => over = true,
            }
        }
    }
}

/// The octets of a database: what is read, and what a change leaves alone.
///
/// # Panics
///
/// If somebody is lost.
pub fn password_database(input: &[u8]) {
    let database = PasswordDatabase::parse(input);
    let users: Vec<_> = database.users().map(<[u8]>::to_vec).collect();
    for user in users.iter().take(20) {
        assert!(database.name_of(user).is_some_and(|name| name == &user[..]));
        for hash in Hash::ALL {
            let found = database.verifier(user, hash).expect("there is no file to be read");
            let again = database.verifier(user, hash).expect("as before");
            assert_eq!(found, again);
        }
    }
    assert!(!database.verifier(b":salts", Hash::Sha1).expect("no file").known);
    assert!(ailurus_auth::password_database::suspect_lines(input).len() <= input.len() + 1);
    let Some(first) = users.first() else { return };
    let mut editor = PasswordEditor::new(input);
    assert!(editor.remove(first));
    let left: Vec<_> = PasswordDatabase::parse(editor.text()).users().map(<[u8]>::to_vec).collect();
    let others: Vec<_> = users.iter().filter(|user| *user != first).cloned().collect();
    assert_eq!(left, others);
}

/// Exchanges of the RFCs, and what is near them.
pub(super) fn exchanges() -> Vec<Vec<u8>> {
    [
        "n,,n=user,r=rOprNGfwEbeRWgbNEkqO\nc=biws,r=rOprNGfwEbeRWgbNEkqObm9uY2U=,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=\n",
        "y,a=ben,n=us=2Cer,r=x,e=1\nc=eSxhPWJlbiw=,r=xbm9uY2U=,e=1,p=AAAA",
        "p=tls-exporter,,n=user,r=fyko\nc=cD10bHMtZXhwb3J0ZXIsLGNoYW5uZWw=,r=fykobm9uY2U=,p=AAAA",
        "p=tls-unique,,m=x,n=user,r=fyko",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

/// A small database.
pub(super) fn databases() -> Vec<Vec<u8>> {
    let text = format!(
        "# ours\n:salts\tAAAAAAAAAAAAAAAAAAAAAA==\n{DATABASE}zoe\tARGON2$x\r\nuser\tagain\n\t\nno tab"
    );
    vec![text.into_bytes()]
}
