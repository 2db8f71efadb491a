//! A small IMAP client, enough to read our own server back.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A connection to an IMAP server.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<TcpStream>,
    tag: u32,
}

/// What came of a command that was completed with OK.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Completion {
    /// The untagged responses, without the line end; literals are where they were, after their length.
    pub untagged: Vec<Vec<u8>>,
    /// The text behind OK.
    pub text: String,
}

/// No server of ours keeps a client of ours waiting longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// No response of the demonstration is larger, in octets.
const MOST_RESPONSE: usize = 4 << 20;

impl Client {
    /// Connects and reads the greeting, which is returned.
    ///
    /// # Errors
    ///
    /// Nobody answers.
    pub fn connect(address: SocketAddr) -> io::Result<(Self, String)> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut client = Self { stream: BufReader::new(stream), tag: 0 };
        let greeting = client.response()?;
        Ok((client, String::from_utf8_lossy(&greeting).into_owned()))
    }

    /// Gives a command and waits for its completion.
    ///
    /// # Errors
    ///
    /// The connection breaks, or the completion is not OK; the error is the server's text then.
    pub fn command(&mut self, command: &str) -> io::Result<Completion> {
        self.command_with(command, &[])
    }

    /// Gives a command that ends in a literal.
    ///
    /// # Errors
    ///
    /// As before.
    pub fn command_with(&mut self, command: &str, literal: &[u8]) -> io::Result<Completion> {
        self.tag += 1;
        let tag = format!("a{}", self.tag);
        let mut octets = format!("{tag} {command}").into_bytes();
        if !literal.is_empty() {
            octets.extend_from_slice(format!(" {{{}+}}\r\n", literal.len()).as_bytes());
            octets.extend_from_slice(literal);
        }
        octets.extend_from_slice(b"\r\n");
        self.stream.get_mut().write_all(&octets)?;
        let mut completion = Completion::default();
        loop {
            let response = self.response()?;
            let Some(rest) = response.strip_prefix(tag.as_bytes()) else {
                completion.untagged.push(response);
                continue;
            };
            let text = String::from_utf8_lossy(rest).trim().to_owned();
            return match text.strip_prefix("OK") {
                Some(text) => Ok(Completion { text: text.trim().to_owned(), ..completion }),
                None => Err(io::Error::other(text)),
            };
        }
    }

    /// Reads one response with its literals.
    fn response(&mut self) -> io::Result<Vec<u8>> {
        let mut response = Vec::new();
        loop {
            let start = response.len();
            (&mut self.stream).take(MOST_RESPONSE as u64).read_until(b'\n', &mut response)?;
            if !response.ends_with(b"\n") {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let end = response[start..].iter().rposition(|octet| !octet.is_ascii_whitespace());
            let Some(length) = end.and_then(|end| literal_length(&response[start..=start + end])) else {
                response.truncate(end.map_or(start, |end| start + end + 1));
                return Ok(response);
            };
            if length > MOST_RESPONSE || response.len() > MOST_RESPONSE {
                return Err(io::Error::other("a response too large to be true"));
            }
            let start = response.len();
            response.resize(start + length, 0);
            self.stream.read_exact(&mut response[start..])?;
        }
    }
}

/// Returns n if a line ends in `{n}`.
fn literal_length(line: &[u8]) -> Option<usize> {
    let start = line.iter().rposition(|&octet| octet == b'{')?;
    let digits = line[start + 1..].strip_suffix(b"}")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_found_at_the_end_only() {
        assert_eq!(literal_length(b"* 1 FETCH (BODY[] {12}"), Some(12));
        assert_eq!(literal_length(b"* 1 FETCH (BODY[] {12} )"), None);
        assert_eq!(literal_length(b"* OK {x}"), None);
    }

    #[test]
    fn responses_are_read_with_their_literals() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().expect("accepted");
            socket.write_all(b"* OK hello\r\n").expect("written");
            let mut command = [0; 9];
            socket.read_exact(&mut command).expect("a command");
            socket.write_all(b"* 1 FETCH (BODY[] {4}\r\na\r\n\n)\r\na1 OK done\r\n").expect("written");
            socket.read_exact(&mut command).expect("a command");
            socket.write_all(b"a2 NO never\r\n").expect("written");
        });
        let (mut client, greeting) = Client::connect(address).expect("connected");
        assert_eq!(greeting, "* OK hello");
        let done = client.command("NOOP").expect("OK");
        assert_eq!(done.untagged, [b"* 1 FETCH (BODY[] {4}\r\na\r\n\n)".to_vec()]);
        assert_eq!(done.text, "done");
        assert_eq!(client.command("NOOP").expect_err("NO").to_string(), "NO never");
        server.join().expect("no panic");
    }
}
