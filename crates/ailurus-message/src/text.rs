//! The text of a part as UTF-8.

use ailurus_charset::{Charset, Decoder as CharsetDecoder};

use crate::{
    content::Encoding,
    decode::{Decoder, Outcome},
    message::Part,
};

/// Turns the body of a text part, which may arrive in pieces, into UTF-8.
///
/// The transfer encoding is undone, then the charset is converted. In a text of an unknown charset, and beyond ASCII in
/// US-ASCII, octets are UTF-8 where they can be that, else windows-1252. What cannot be decoded becomes U+FFFD or is left out; nothing fails.
#[derive(Debug)]
pub struct PartDecoder {
    transfer: Decoder,
    charset: CharsetDecoder,
    octets: Vec<u8>,
}

/// How much of a piece is decoded at a time, so that a large piece needs no second copy of it in memory.
const STEP: usize = 64 * 1024;

impl PartDecoder {
    /// Returns a decoder for the body of `part`.
    pub fn new(part: &Part<'_>) -> Self {
        Self::with(part.encoding(), part.charset().as_deref())
    }

    /// Returns a decoder for a body of this transfer encoding and charset label.
    pub fn with(encoding: Encoding, charset: Option<&[u8]>) -> Self {
        let charset = charset.and_then(Charset::for_label).unwrap_or_else(Charset::guessed);
        Self { transfer: Decoder::new(encoding), charset: CharsetDecoder::new(charset), octets: Vec::new() }
    }

    /// Appends what the next piece of the body means to `out`.
    pub fn push(&mut self, piece: &[u8], out: &mut String) {
        if self.transfer.is_identity() {
            self.charset.push(piece, out);
            return;
        }
        for step in piece.chunks(STEP) {
            self.octets.clear();
            self.transfer.push(step, &mut self.octets);
            self.charset.push(&self.octets, out);
        }
    }

    /// Ends the body, and tells how well it was encoded for transport.
    pub fn finish(mut self, out: &mut String) -> Outcome {
        self.octets.clear();
        let outcome = self.transfer.finish(&mut self.octets);
        self.charset.push(&self.octets, out);
        self.charset.finish(out);
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Message;

    fn text(message: &[u8]) -> String {
        let parsed = Message::parse(message);
        let mut decoder = PartDecoder::new(&parsed.root());
        let start = usize::try_from(parsed.root().body_extent().start).expect("it is in memory");
        let mut out = String::new();
        for piece in message[start..].chunks(3) {
            decoder.push(piece, &mut out);
        }
        decoder.finish(&mut out);
        out
    }

    #[test]
    fn bodies_become_utf8() {
        let head = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=";
        let qp = format!(
            "{head}iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nCaf=E9=\r\n!\r\n"
        );
        assert_eq!(text(qp.as_bytes()), "Café!\r\n");
        let base64 = format!("{head}utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\nQ2Fm\r\nw6kh\r\n");
        assert_eq!(text(base64.as_bytes()), "Café!");
        assert_eq!(text(b"Subject: x\r\n\r\n\x1B$BF|\x1B(B\r\n"), "日\r\n");
        assert_eq!(text("Subject: x\r\n\r\nCafé".as_bytes()), "Café");
        assert_eq!(text(b"\r\nCaf\xE9"), "Café");
    }
}
