//! The client's two messages (RFC 5802 §7).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A nonce of a client is no longer.
const LONGEST_NONCE: usize = 1024;

/// What a client says of channel binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding<'m> {
    /// `n`: it has none.
    Unsupported,
    /// `y`: it has one, and believes that the server has none.
    Unused,
    /// `p=name`: it binds to this.
    Used(&'m str),
}

/// `client-first-message`: the GS2 header, and what follows it.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientFirst<'m> {
    /// The channel binding.
    pub binding: Binding<'m>,
    /// The authorization identity, if there is one.
    pub authzid: Option<String>,
    /// The user name, not prepared yet.
    pub user: String,
    /// The client's nonce.
    pub nonce: &'m str,
    /// The header as it was sent, commas included.
    pub header: &'m str,
    /// What follows it, which is part of what is signed.
    pub bare: &'m str,
}

/// `client-final-message`.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientFinal<'m> {
    /// The GS2 header and the channel's data.
    pub binding: Vec<u8>,
    /// Both nonces.
    pub nonce: &'m str,
    /// The proof.
    pub proof: Vec<u8>,
    /// The message up to the proof, which is part of what is signed.
    pub without_proof: &'m str,
}

impl<'m> ClientFirst<'m> {
    /// Reads the message. Extensions behind the nonce are let be; an `m=` in front of the name must not be.
    #[must_use]
    pub fn parse(message: &'m [u8]) -> Option<Self> {
        let text = std::str::from_utf8(message).ok().filter(|text| !text.contains('\0'))?;
        let (flag, rest) = text.split_once(',')?;
        let binding = match flag {
            "n" => Binding::Unsupported,
            "y" => Binding::Unused,
            _ => Binding::Used(flag.strip_prefix("p=").filter(|name| is_binding_name(name))?),
        };
        let (authzid, bare) = rest.split_once(',')?;
        let authzid = match authzid {
            "" => None,
            _ => Some(name(authzid.strip_prefix("a=")?)?),
        };
        let mut fields = bare.split(',');
        let user = name(fields.next()?.strip_prefix("n=")?)?;
        let nonce = nonce(fields.next()?)?;
        fields.all(is_attribute).then_some(())?;
        let header = &text[..text.len() - bare.len()];
        Some(Self { binding, authzid, user, nonce, header, bare })
    }
}

impl<'m> ClientFinal<'m> {
    /// Reads the message.
    #[must_use]
    pub fn parse(message: &'m [u8]) -> Option<Self> {
        let text = std::str::from_utf8(message).ok().filter(|text| !text.contains('\0'))?;
        let (without_proof, proof) = text.rsplit_once(",p=")?;
        let mut fields = without_proof.split(',');
        let binding = fields.next()?.strip_prefix("c=")?;
        let nonce = nonce(fields.next()?)?;
        fields.all(is_attribute).then_some(())?;
        let decode = |text: &str| STANDARD.decode(text).ok();
        Some(Self { binding: decode(binding)?, nonce, proof: decode(proof)?, without_proof })
    }
}

/// Reads a `saslname`, in which `=2C` stands for a comma and `=3D` for `=`.
fn name(text: &str) -> Option<String> {
    let mut name = String::with_capacity(text.len());
    let mut parts = text.split('=');
    name.push_str(parts.next()?);
    for part in parts {
        name.push(match part.get(..2)? {
            "2C" => ',',
            "3D" => '=',
            _ => return None,
        });
        name.push_str(&part[2..]);
    }
    (!name.is_empty()).then_some(name)
}

fn nonce(field: &str) -> Option<&str> {
    let nonce = field.strip_prefix("r=")?;
    let good =
        !nonce.is_empty() && nonce.len() <= LONGEST_NONCE * 2 && nonce.bytes().all(|o| o.is_ascii_graphic());
    good.then_some(nonce)
}

/// Tells whether a client's own nonce is one.
pub(crate) fn is_short(nonce: &str) -> bool {
    nonce.len() <= LONGEST_NONCE
}

fn is_binding_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|o| o.is_ascii_alphanumeric() || matches!(o, b'.' | b'-'))
}

/// `ALPHA "=" value`
fn is_attribute(field: &str) -> bool {
    matches!(field.as_bytes(), [letter, b'=', _, ..] if letter.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn first_messages() {
        let message = b"p=tls-exporter,a=be=2Cn,n=po=3Dst,r=fyko+d2lbbFgONRv9qkxdawL,x=more";
        let first = ClientFirst::parse(message).expect("well formed");
        assert_eq!(first.binding, Binding::Used("tls-exporter"));
        assert_eq!((first.authzid.as_deref(), first.user.as_str()), (Some("be,n"), "po=st"));
        assert_eq!(first.nonce, "fyko+d2lbbFgONRv9qkxdawL");
        assert_eq!(first.header, "p=tls-exporter,a=be=2Cn,");
        assert_eq!(first.bare, "n=po=3Dst,r=fyko+d2lbbFgONRv9qkxdawL,x=more");
        let first = ClientFirst::parse(b"y,,n=user,r=x").expect("well formed");
        assert_eq!((first.binding, first.authzid, first.header), (Binding::Unused, None, "y,,"));
    }

    #[test]
    fn bad_first_messages() {
        for bad in [
            &b""[..],
            b"n",
            b"n,",
            b"n,,",
            b"x,,n=u,r=x",
            b"p=,,n=u,r=x",
            b"p=a b,,n=u,r=x",
            b"n,ben,n=u,r=x",
            b"n,a=,n=u,r=x",
            b"n,,m=x,n=u,r=x",
            b"n,,n=,r=x",
            b"n,,n=u",
            b"n,,n=u,r=",
            b"n,,n=u,r=a b",
            b"n,,n=u=2c,r=x",
            b"n,,n=u=,r=x",
            b"n,,n=u=4,r=x",
            b"n,,n=u,r=x,y",
            b"n,,n=u,r=x,y=",
            b"n,,n=u\0,r=x",
            b"n,,n=\xff,r=x",
            b"n,,r=x,n=u",
            "n,,n=u=\u{e9}\u{e9},r=x".as_bytes(),
            b"n,,n=u,r=x,,",
        ] {
            assert_eq!(ClientFirst::parse(bad), None, "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn final_messages() {
        let message = b"c=biws,r=rOprNGfwEbeRWgbNEkqO,x=y,p=dHzbZ";
        assert_eq!(ClientFinal::parse(message), None, "incomplete base64");
        let message = b"c=biws,r=rOprNGfwEbeRWgbNEkqO,x=y,p=dHzb";
        let last = ClientFinal::parse(message).expect("well formed");
        assert_eq!(last.binding, b"n,,");
        assert_eq!((last.nonce, last.proof.len()), ("rOprNGfwEbeRWgbNEkqO", 3));
        assert_eq!(last.without_proof, "c=biws,r=rOprNGfwEbeRWgbNEkqO,x=y");
        for bad in
            [&b""[..], b"c=biws", b"c=biws,r=x", b"c=biws,p=dHzb", b"r=x,c=biws,p=dHzb", b"c=!,r=x,p=dHzb"]
        {
            assert_eq!(ClientFinal::parse(bad), None, "{}", bad.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn arbitrary_messages_do_not_panic(message: Vec<u8>) {
            drop(ClientFirst::parse(&message));
            drop(ClientFinal::parse(&message));
        }

        #[test]
        fn arbitrary_fields_do_not_panic(message in "[nypac=,r2CD3é]{0,30}") {
            drop(ClientFirst::parse(message.as_bytes()));
            drop(ClientFinal::parse(message.as_bytes()));
        }
    }
}
