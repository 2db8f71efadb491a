//! Multi-line responses (RFC 1939 §3): a line that begins with `.` gets another one, a line of `.` ends the response.

use memchr::memmem;

/// Appends the lines of a response in pieces of any size.
///
/// COMPAT(ipop3d): a bare LF ends a line as well. Clients that take it for an end would see the end of the response in
/// `LF . CR LF`, and answers of ours in the rest of the message.
#[derive(Clone, Copy, Debug)]
pub struct Stuffing {
    at_line_start: bool,
}

impl Default for Stuffing {
    fn default() -> Self {
        Self { at_line_start: true }
    }
}

impl Stuffing {
    /// Appends octets of the response.
    pub fn append(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        let Some(last) = octets.last() else { return };
        if self.at_line_start && octets.first() == Some(&b'.') {
            out.push(b'.');
        }
        let mut rest = octets;
        // Few lines of mail begin with a dot: what lies between is copied at once.
        while let Some(dot) = memmem::find(rest, b"\n.") {
            out.extend_from_slice(&rest[..=dot]);
            out.push(b'.');
            rest = &rest[dot + 1..];
        }
        out.extend_from_slice(rest);
        self.at_line_start = *last == b'\n';
    }

    /// Appends the end of the response. All lines have their ends.
    pub fn end(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b".\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stuffed(octets: &[u8], piece: usize) -> Vec<u8> {
        let (mut stuffing, mut out) = (Stuffing::default(), Vec::new());
        for piece in octets.chunks(piece) {
            stuffing.append(piece, &mut out);
        }
        stuffing.end(&mut out);
        out
    }

    #[test]
    fn dots_at_the_beginning_of_lines_are_doubled() {
        let mail = b".leading\r\n..two\r\nlast. dot\r\n.\r\n\r\n.\n.x\r\n";
        for piece in 1..=mail.len() {
            assert_eq!(
                stuffed(mail, piece).escape_ascii().to_string(),
                b"..leading\r\n...two\r\nlast. dot\r\n..\r\n\r\n..\n..x\r\n.\r\n".escape_ascii().to_string()
            );
        }
        assert_eq!(stuffed(b"", 1), b".\r\n");
    }

    proptest! {
        #[test]
        fn what_is_stuffed_can_be_read_again(text in "([.a]{0,3}(\r\n|\n)){0,8}", piece in 1_usize..6) {
            let sent = stuffed(text.as_bytes(), piece);
            let mut read = Vec::new();
            for line in sent.split_inclusive(|octet| *octet == b'\n') {
                if line == b".\r\n" {
                    break;
                }
                read.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
            }
            prop_assert_eq!(read, text.into_bytes());
        }
    }
}
