//! The connection inside TLS.

use super::descriptor::{Descriptor, io_text};
use super::{CLIENT_GONE, MOST_INPUT, Secured, Signal, Signals, Transport};
use rustls::{ProtocolVersion, ServerConfig, ServerConnection};
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// There is no certificate to do it with; the text is for the log.
    #[error("{0}")]
    Certificate(String),
    /// The peers do not agree.
    #[error("{0}")]
    Tls(#[from] rustls::Error),
    /// The connection broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The peer took too long.
    #[error("handshake timed out")]
    TimedOut,
    /// A signal ended it.
    #[error("killed in the handshake")]
    Killed,
}

/// How long a handshake may take in all.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(60);

/// RFC 9266 §2.
const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// What octets go through between descriptor and engine.
pub(super) enum Link {
    Plain,
    Tls(Box<ServerConnection>),
}

impl Transport {
    /// Does the TLS handshake; whatever plaintext came before it and was not yet taken is thrown away.
    ///
    /// # Errors
    ///
    /// The connection is of no more use; the peer got an alert if it can read one.
    pub fn start_tls(
        &mut self,
        config: Arc<ServerConfig>,
        signals: &mut dyn Signals,
    ) -> Result<Secured, HandshakeError> {
        // RFC 3501 §6.2.1 and CVE-2011-0411: nothing that was said in the clear is obeyed inside TLS.
        self.incoming.clear();
        let mut tls = ServerConnection::new(config)?;
        tls.set_buffer_limit(None); // emptied after every write
        self.link = Link::Tls(Box::new(tls));
        let deadline = Instant::now() + HANDSHAKE_LIMIT;
        loop {
            self.take_tls_output();
            self.flush();
            match self.ended.take() {
                Some(cause) => return Err(io::Error::other(cause).into()),
                None if !self.is_handshaking() && self.is_drained() => return Ok(self.secured()),
                None => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(HandshakeError::TimedOut);
            }
            let writing = !self.is_drained();
            if self.poll(!writing, Some(left), signals).signal {
                signals.woken();
            }
            if signals.take().is_some_and(|signal| signal != Signal::Kiss) {
                return Err(HandshakeError::Killed);
            }
            if !writing && let Err(error) = self.read_tls() {
                self.take_tls_output(); // the alert that says why
                self.flush();
                return Err(error);
            }
        }
    }

    /// Returns what the handshake has shown.
    fn secured(&self) -> Secured {
        let Link::Tls(tls) = &self.link else { return Secured::default() };
        // RFC 9266 §4.2: TLS 1.2 would do with the extended master secret, of which rustls does not tell.
        let bound = tls.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        let export = || tls.export_keying_material([0; 32], EXPORTER_LABEL, Some(b"")).ok();
        let certificate = tls.peer_certificates().and_then(|chain| chain.first());
        Secured {
            exporter: bound.then(export).flatten(),
            certificate: certificate.map(|der| der.as_ref().to_vec()),
        }
    }

    /// Encrypts the batch as a whole, so that small responses share records.
    pub(super) fn encrypt(&mut self) {
        if let Link::Tls(tls) = &mut self.link {
            let result = tls.writer().write_all(&self.plaintext);
            self.plaintext.clear();
            if let Err(error) = result {
                self.end(&io_text(&error));
            }
            self.take_tls_output();
        }
    }

    /// Moves what TLS wants written into the output buffer.
    pub(super) fn take_tls_output(&mut self) {
        let Link::Tls(tls) = &mut self.link else { return };
        while tls.wants_write() {
            // Into memory: cannot fail, and if it did, the handshake or the peer would.
            if tls.write_tls(&mut self.outgoing).is_err() {
                break;
            }
        }
        if self.is_deaf() {
            self.outgoing.clear();
            self.sent = 0;
        }
    }

    pub(super) fn is_handshaking(&self) -> bool {
        matches!(&self.link, Link::Tls(tls) if tls.is_handshaking())
    }

    pub(super) fn read_tls(&mut self) -> Result<(), HandshakeError> {
        let Link::Tls(tls) = &mut self.link else { return Ok(()) };
        let mut descriptor = Descriptor { input: &self.input, socket: self.socket };
        loop {
            match tls.read_tls(&mut descriptor) {
                Ok(0) => {
                    self.ended = Some(CLIENT_GONE.into());
                    return Ok(());
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            }
            let state = tls.process_new_packets()?;
            let start = self.incoming.len();
            self.incoming.resize(start + state.plaintext_bytes_to_read(), 0);
            tls.reader().read_exact(&mut self.incoming[start..])?;
            if state.peer_has_closed() {
                self.ended = Some(CLIENT_GONE.into());
                break;
            }
            if !self.socket || tls.wants_write() || self.incoming.len() >= MOST_INPUT {
                break;
            }
        }
        self.take_tls_output();
        Ok(())
    }

    /// Ends TLS in order and tells the peer that nothing more comes.
    pub(super) fn say_goodbye(&mut self) {
        if self.is_deaf() {
            return;
        }
        if let Link::Tls(tls) = &mut self.link {
            tls.send_close_notify();
            self.take_tls_output();
            self.flush();
        }
        if self.socket {
            rustix::net::shutdown(&self.output, rustix::net::Shutdown::Write).ok();
        }
    }
}
