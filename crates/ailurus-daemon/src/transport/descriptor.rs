//! Reading and writing a descriptor, socket or pipe, without blocking and without a change of its flags.

use super::encrypted::{HandshakeError, Link};
use super::{CLIENT_GONE, MOST_INPUT, Transport};
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::time::Instant;

/// A pipe that polls writable takes this much without blocking (PIPE_BUF).
const PIPE_PIECE: usize = 4096;
impl Transport {
    /// Writes what the descriptor takes now.
    pub(super) fn flush(&mut self) {
        while self.sent < self.outgoing.len() {
            match self.write_some() {
                Ok(0) | Err(Errno::AGAIN) => {
                    self.stalled.get_or_insert_with(Instant::now);
                    // A peer who reads slowly and steadily never takes all of it.
                    if self.sent > self.outgoing.len() / 2 {
                        self.outgoing.drain(..self.sent);
                        self.sent = 0;
                    }
                    return;
                }
                Ok(written) => {
                    self.sent += written;
                    self.stalled = None;
                }
                Err(Errno::INTR) => {}
                Err(error) => return self.end(&errno_text(error)),
            }
        }
        self.stalled = None;
        self.outgoing.clear();
        self.sent = 0;
    }

    pub(super) fn write_some(&self) -> rustix::io::Result<usize> {
        let rest = &self.outgoing[self.sent..];
        if self.socket {
            return rustix::net::send(&self.output, rest, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
        let mut ready = [PollFd::new(&self.output, PollFlags::OUT)];
        if poll(&mut ready, Some(&Timespec::default()))? == 0 {
            return Err(Errno::AGAIN);
        }
        rustix::io::write(&self.output, &rest[..rest.len().min(PIPE_PIECE)])
    }

    /// Reads what has come; the error is the cause for the engine.
    pub(super) fn read(&mut self) -> Result<(), String> {
        match self.link {
            Link::Plain => self.read_plain().map_err(errno_text),
            Link::Tls(_) => self.read_tls().map_err(|error| match error {
                HandshakeError::Io(error) => io_text(&error),
                other => other.to_string(),
            }),
        }
    }

    pub(super) fn read_plain(&mut self) -> rustix::io::Result<()> {
        self.incoming.reserve_exact(MOST_INPUT.saturating_sub(self.incoming.len()));
        let room = spare_capacity(&mut self.incoming);
        let result = if self.socket {
            rustix::net::recv(&self.input, room, RecvFlags::DONTWAIT).map(|(received, _)| received)
        } else {
            rustix::io::read(&self.input, room)
        };
        match result {
            Ok(0) => self.ended = Some(CLIENT_GONE.into()),
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// The input as `Read`, for TLS.
pub(super) struct Descriptor<'t> {
    pub(super) input: &'t OwnedFd,
    pub(super) socket: bool,
}

impl Read for Descriptor<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        Ok(receive(self.input, self.socket, room)?)
    }
}

fn receive(input: &OwnedFd, socket: bool, room: &mut [u8]) -> rustix::io::Result<usize> {
    if socket {
        let (received, _) = rustix::net::recv(input, room, RecvFlags::DONTWAIT)?;
        return Ok(received);
    }
    rustix::io::read(input, room)
}

/// Returns what strerror(3) says, without the number that Rust appends: people search logs for it.
fn errno_text(error: Errno) -> String {
    io_text(&error.into())
}

pub(crate) fn io_text(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}
