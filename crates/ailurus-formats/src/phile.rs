//! The phile format: any file as a mailbox of one message, read-only.
//!
//! What people see when a file is no mailbox, or one too damaged to be known: "one message from me with the file
//! name as subject". The header is made up:
//!
//! ```text
//! Date: Mon, 1 Jan 2024 01:00:00 +0000                     the file's mtime, local zone, day not padded
//! From: alice@mail.example.com                             the owner
//! Subject: /home/alice/p1                                  the full path
//! MIME-Version: 1.0
//! Content-Type: TEXT/PLAIN; charset=US-ASCII               by a look at every octet
//! ```
//!
//! The file is never held in memory: it is read once in blocks to find out its type and size, then converted as it
//! is read. Only regular files are opened: a FIFO or a device would hold us forever.

use crate::files;
use ailurus_store::{
    Abilities, Access, Append, Changes, Claim, Driver, Edit, Environment, Error, Extent, Location, Mailbox,
    Manner, MessageInfo, PermanentFlags, Place, Rejection, Result, Snapshot, Status, Wake,
};
use ailurus_types::{Flags, InternalDate, Keywords, Uid, UidValidity};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fs::{File, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::Disk;

/// The driver of the phile format.
#[derive(Clone, Debug)]
pub struct Phile {
    environment: Arc<Environment>,
    disk: Arc<dyn Disk>,
}

impl Phile {
    /// Returns the driver for one user's files.
    #[must_use]
    pub fn new(environment: Arc<Environment>, disk: Arc<dyn Disk>) -> Self {
        Self { environment, disk }
    }

    /// Files of no octets are left to `dummy` where an append can make something of them.
    fn takes_empty(&self, path: &Path) -> bool {
        let in_ftp = self.environment.shared.ftp.as_ref().is_some_and(|ftp| path.starts_with(ftp));
        self.environment.empty_format.is_none() || in_ftp
    }
}

impl Driver for Phile {
    fn name(&self) -> &'static str {
        "phile"
    }

    fn abilities(&self) -> Abilities {
        Abilities { read_only: true, ..Abilities::default() }
    }

    fn probe(&self, at: &Location) -> Result<Claim> {
        let Place::Path(path) = &at.place else { return Ok(Claim::No(Rejection::BadName)) };
        match path.metadata() {
            Ok(meta) if meta.is_file() && (meta.len() > 0 || self.takes_empty(path)) => Ok(Claim::Valid),
            Ok(_) => Ok(Claim::No(Rejection::WrongFormat)),
            Err(error) => files::unclaimed("look at", path, error),
        }
    }

    fn create(&self, at: &Location) -> Result<()> {
        files::create(&self.environment, &*self.disk, at)
    }

    fn delete(&self, at: &Location) -> Result<()> {
        files::delete(&*self.disk, at)
    }

    fn rename(&self, from: &Location, to: &Location) -> Result<()> {
        files::rename(&*self.disk, from, to)
    }

    fn status(&self, at: &Location) -> Result<Status> {
        let path = path_of(at)?;
        let meta = path.metadata().map_err(files::failure("look at", at, path))?;
        Ok(Status {
            messages: 1,
            recent: 1,
            unseen: 1,
            // COMPAT(phile): the reference says 1, which is the UID of the message itself.
            uid_next: Uid::MIN.next(),
            uid_validity: uid_validity(&meta),
        })
    }

    fn open(&self, at: &Location, _access: Access, _manner: Manner) -> Result<Box<dyn Mailbox>> {
        let path = path_of(at)?;
        let (file, meta) = open_regular(at, path)?;
        let kind = Kind::look(&file, path)?;
        let header = header(&self.environment, path, &meta, &kind);
        let text_size = kind.text_size();
        let size = text_size.saturating_add(header.len() as u64);
        let offset = self.environment.clock.local_offset();
        let date = InternalDate::from_timestamp(meta.mtime(), offset);
        let mut message = MessageInfo::new(Uid::MIN, Flags::default(), date, size);
        message.set_recent(true);
        let snapshot = Snapshot {
            uid_validity: uid_validity(&meta),
            uid_next: Uid::MIN.next(),
            keywords: Keywords::default(),
            permanent: PermanentFlags::default(),
            writable: false,
            sticky_uids: false,
            messages: vec![message],
        };
        Ok(Box::new(PhileMailbox {
            path: path.into(),
            file,
            kind,
            header,
            text_size,
            snapshot,
            cursor: Cursor::default(),
        }))
    }

    fn append<'d>(&'d self, at: &Location) -> Result<Box<dyn Append + 'd>> {
        let path = path_of(at)?;
        Err(Error::Refused(format!("Can't append - not in valid mailbox format: {}", path.display())))
    }
}

fn path_of(at: &Location) -> Result<&Path> {
    at.path().ok_or_else(|| Error::NotSelectable(at.name.clone()))
}

fn open_regular(at: &Location, path: &Path) -> Result<(File, Metadata)> {
    let meta = path.metadata().map_err(files::failure("open", at, path))?;
    if !meta.is_file() {
        return Err(Error::NotSelectable(at.name.clone()));
    }
    let file = files::open(path, Access::ReadOnly).map_err(files::failure("open", at, path))?;
    let meta = file.metadata().map_err(Error::io("look at", path))?;
    Ok((file, meta))
}

fn uid_validity(meta: &Metadata) -> UidValidity {
    let seconds = u32::try_from(meta.mtime()).unwrap_or(u32::MAX);
    UidValidity::new(seconds).unwrap_or(UidValidity::MIN)
}

fn header(environment: &Environment, path: &Path, meta: &Metadata, kind: &Kind) -> Vec<u8> {
    let date = InternalDate::from_timestamp(meta.mtime(), environment.clock.local_offset());
    let ((year, _, day), (hour, minute, second)) = (date.calendar(), date.clock());
    let mut header = format!(
        "Date: {}, {day} {} {year} {hour:02}:{minute:02}:{second:02} {}\r\nFrom: {}@{}\r\nSubject: ",
        date.weekday(),
        date.month_name(),
        date.zone(),
        owner(environment, meta),
        environment.host,
    )
    .into_bytes();
    push_name(&mut header, path.as_os_str().as_bytes());
    header.extend_from_slice(b"\r\nMIME-Version: 1.0\r\nContent-Type: ");
    match kind {
        Kind::Text { charset, eight_bit, .. } => {
            header.extend_from_slice(format!("TEXT/PLAIN; charset={charset}\r\n").as_bytes());
            if *eight_bit && *charset == UNKNOWN {
                header.extend_from_slice(b"Content-Transfer-Encoding: 8BIT\r\n");
            }
        }
        Kind::Binary { .. } => {
            header.extend_from_slice(b"APPLICATION/OCTET-STREAM; name=");
            push_name(&mut header, path.file_name().unwrap_or_default().as_bytes());
            header.extend_from_slice(b"\r\nContent-Transfer-Encoding: BASE64\r\n");
        }
    }
    header.extend_from_slice(b"\r\n");
    header
}

/// A file's name may hold anything; a line end in it would end the header field.
fn push_name(header: &mut Vec<u8>, name: &[u8]) {
    header.extend(name.iter().map(|octet| if octet.is_ascii_control() { b'?' } else { *octet }));
}

fn owner(environment: &Environment, meta: &Metadata) -> String {
    if meta.uid() == rustix::process::geteuid().as_raw() {
        return environment.user.clone();
    }
    format!("User-Number-{}", meta.uid())
}

const UNKNOWN: &str = "X-UNKNOWN";

/// What the octets of a file are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// Shown as it is; `convert`: LF is to become CRLF, for no CR was seen anywhere.
    Text { charset: &'static str, eight_bit: bool, convert: bool, octets: u64, lines: u64 },
    /// Shown in base64.
    Binary { octets: u64 },
}

impl Kind {
    /// Reads the file in blocks, up to the first octet that no text has.
    fn look(file: &File, path: &Path) -> Result<Self> {
        let mut scan = Scan::default();
        let mut block = vec![0; BLOCK];
        loop {
            let read = file.read_at(&mut block, scan.octets).map_err(Error::io("read", path))?;
            if read == 0 {
                break;
            }
            scan.octets += read as u64;
            if !scan.take(&block[..read]) {
                let octets = file.metadata().map_err(Error::io("look at", path))?.len();
                return Ok(Self::Binary { octets });
            }
        }
        let charset = match scan.charset {
            Some(charset) => charset,
            None if scan.eight_bit => UNKNOWN,
            None => "US-ASCII",
        };
        Ok(Self::Text {
            charset,
            eight_bit: scan.eight_bit,
            convert: !scan.has_cr,
            octets: scan.octets,
            lines: scan.lines,
        })
    }

    /// Returns the size of the text of the message, without its header.
    fn text_size(&self) -> u64 {
        match self {
            Self::Text { convert: true, octets, lines, .. } => octets + lines,
            Self::Text { octets, .. } => *octets,
            Self::Binary { octets } => {
                let encoded = encoded_size(*octets);
                // The encoder ends its output with CRLF, even behind a line that is full.
                encoded + 2 * (encoded / LINE_CHARS + 1)
            }
        }
    }
}

const BLOCK: usize = 256 * 1024;

#[derive(Debug, Default)]
struct Scan {
    octets: u64,
    lines: u64,
    has_cr: bool,
    eight_bit: bool,
    charset: Option<&'static str>,
    /// The last octets of the block before, from an ESC on.
    escape: Vec<u8>,
}

impl Scan {
    /// Takes the next octets; false at the first that no text has.
    fn take(&mut self, block: &[u8]) -> bool {
        for octet in block {
            match octet {
                b'\n' => self.lines += 1,
                b'\r' => self.has_cr = true,
                0x00..=0x06 | 0x10..=0x1a | 0x1c..=0x1f | 0x7f => return false,
                0x80.. => self.eight_bit = true,
                _ => {}
            }
            self.follow_escape(*octet);
        }
        true
    }

    /// The first designation of a charset in the file counts.
    fn follow_escape(&mut self, octet: u8) {
        if octet == 0x1b {
            self.escape.clear();
            self.escape.push(octet);
            return;
        }
        if self.escape.is_empty() {
            return;
        }
        self.escape.push(octet);
        let found = match &self.escape[1..] {
            [b'$'] | [b'$', b')' | b'*' | b'+'] => return,
            [b'$', b'B' | b'@'] => Some("ISO-2022-JP"),
            [b'$', b')', b'C'] => Some("ISO-2022-KR"),
            [b'$', b')', b'A' | b'E' | b'G'] | [b'$', b'*', b'H'] | [b'$', b'+', b'I'..=b'M'] => {
                Some("ISO-2022-CN")
            }
            _ => None,
        };
        self.escape.clear();
        self.charset = self.charset.or(found);
    }
}

/// Octets of base64 on one line, and how many octets of the file they stand for.
const LINE_CHARS: u64 = 60;
const LINE_OCTETS: u64 = 45;

/// Returns how many characters base64 makes of so many octets, without line ends.
fn encoded_size(octets: u64) -> u64 {
    octets.div_ceil(3).saturating_mul(4)
}

/// Where a conversion of LF to CRLF stands.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    input: u64,
    output: u64,
    /// The CR of a line end is out, its LF is not.
    within_line_end: bool,
}

struct PhileMailbox {
    path: PathBuf,
    file: File,
    kind: Kind,
    header: Vec<u8>,
    text_size: u64,
    snapshot: Snapshot,
    cursor: Cursor,
}

impl PhileMailbox {
    fn read_text(&mut self, from: u64, most: usize, out: &mut Vec<u8>) -> Result<usize> {
        let left = self.text_size.saturating_sub(from);
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(most);
        if most == 0 {
            return Ok(0);
        }
        let got = match self.kind {
            Kind::Text { convert: false, .. } => self.read_plain(from, most, out)?,
            Kind::Text { .. } => self.read_converted(from, most, out)?,
            Kind::Binary { octets } => self.read_encoded(from, most, octets, out)?,
        };
        if got == 0 {
            let what = "file became shorter while it was read".into();
            return Err(Error::Lost { path: self.path.clone(), what });
        }
        Ok(got)
    }

    fn read_plain(&self, from: u64, most: usize, out: &mut Vec<u8>) -> Result<usize> {
        let start = out.len();
        out.resize(start + most.min(BLOCK), 0);
        let read = self.file.read_at(&mut out[start..], from);
        out.truncate(start + read.as_ref().copied().unwrap_or(0));
        read.map_err(Error::io("read", &self.path))
    }

    fn read_converted(&mut self, from: u64, most: usize, out: &mut Vec<u8>) -> Result<usize> {
        if from < self.cursor.output {
            self.cursor = Cursor::default();
        }
        let mut skipped = Vec::new();
        while self.cursor.output < from {
            let distance = usize::try_from(from - self.cursor.output).unwrap_or(usize::MAX);
            skipped.clear();
            if self.convert(distance, &mut skipped)? == 0 {
                return Ok(0);
            }
        }
        self.convert(most, out)
    }

    /// Puts out at most `most` octets from the cursor on; 0 at the end of the file.
    fn convert(&mut self, most: usize, out: &mut Vec<u8>) -> Result<usize> {
        let mut block = Vec::new();
        let got = self.read_plain(self.cursor.input, most, &mut block)?;
        let start = out.len();
        for octet in &block[..got] {
            if *octet == b'\n' && !self.cursor.within_line_end {
                if out.len() - start == most {
                    break;
                }
                out.push(b'\r');
                self.cursor.within_line_end = true;
            }
            if out.len() - start == most {
                break;
            }
            out.push(*octet);
            self.cursor.within_line_end = false;
            self.cursor.input += 1;
        }
        let given = out.len() - start;
        self.cursor.output += given as u64;
        Ok(given)
    }

    fn read_encoded(&self, from: u64, most: usize, octets: u64, out: &mut Vec<u8>) -> Result<usize> {
        let line = from / (LINE_CHARS + 2);
        let lines = (most as u64 / (LINE_CHARS + 2) + 2).min(BLOCK as u64 / LINE_OCTETS);
        let offset = line * LINE_OCTETS;
        let wanted = octets.saturating_sub(offset).min(lines * LINE_OCTETS);
        let wanted = usize::try_from(wanted).unwrap_or(BLOCK);
        let mut input = vec![0; wanted];
        self.file.read_exact_at(&mut input, offset).map_err(Error::io("read", &self.path))?;
        let mut encoded = Vec::with_capacity(wanted * 3 / 2 + 8);
        for part in input.chunks(45) {
            encoded.extend_from_slice(STANDARD.encode(part).as_bytes());
            encoded.extend_from_slice(b"\r\n");
        }
        if offset + wanted as u64 >= octets && encoded_size(octets).is_multiple_of(LINE_CHARS) {
            encoded.extend_from_slice(b"\r\n");
        }
        let skip = usize::try_from(from % (LINE_CHARS + 2)).unwrap_or(0);
        let given = encoded.get(skip..).unwrap_or_default();
        let given = &given[..given.len().min(most)];
        out.extend_from_slice(given);
        Ok(given.len())
    }
}

impl Mailbox for PhileMailbox {
    fn driver(&self) -> &'static str {
        "phile"
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    fn read(&mut self, uid: Uid, extent: Extent, from: u64, most: usize, out: &mut Vec<u8>) -> Result<usize> {
        if uid != Uid::MIN {
            return Err(Error::Expunged { uid: uid.get() });
        }
        let header = match extent {
            Extent::Text => &[][..],
            Extent::Whole | Extent::Header => &self.header,
        };
        let in_header = usize::try_from(from).ok().and_then(|from| header.get(from..)).unwrap_or_default();
        if !in_header.is_empty() {
            let given = &in_header[..in_header.len().min(most)];
            out.extend_from_slice(given);
            return Ok(given.len());
        }
        let from = from - header.len() as u64;
        if extent == Extent::Header { Ok(0) } else { self.read_text(from, most, out) }
    }

    fn refresh(&mut self) -> Result<Changes> {
        Ok(Changes::default())
    }

    fn edit(&mut self) -> Result<Box<dyn Edit + '_>> {
        Err(Error::ReadOnly { path: self.path.clone() })
    }

    fn checkpoint(&mut self) -> Result<Changes> {
        Ok(Changes::default())
    }

    fn wake(&self) -> Wake {
        Wake::default()
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &[u8]) -> Scan {
        let mut scan = Scan::default();
        assert!(scan.take(text));
        scan
    }

    #[test]
    fn charsets_are_known_by_their_escapes() {
        for (text, charset) in [
            (&b"\x1b$B"[..], Some("ISO-2022-JP")),
            (b"\x1b$@", Some("ISO-2022-JP")),
            (b"a\x1b$)C", Some("ISO-2022-KR")),
            (b"\x1b$)A", Some("ISO-2022-CN")),
            (b"\x1b$*H", Some("ISO-2022-CN")),
            (b"\x1b$+M", Some("ISO-2022-CN")),
            (b"\x1b$+N", None),
            (b"\x1b\x1b$B", Some("ISO-2022-JP")),
            (b"$B", None),
        ] {
            assert_eq!(scan(text).charset, charset, "{text:?}");
        }
    }

    #[test]
    fn octets_that_no_text_has_are_binary() {
        for octet in 0..=255u8 {
            let text = matches!(octet, 0x07..=0x0f | 0x1b | 0x20..=0x7e | 0x80..);
            assert_eq!(Scan::default().take(&[octet]), text, "{octet:#x}");
        }
    }
}
