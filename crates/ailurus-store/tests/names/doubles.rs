//! Simple formats that stand for the real ones, which this crate does not know.

use ailurus_store::memory::Memory;
use ailurus_store::{
    Abilities, Access, Append, AppendMeta, Appended, Claim, Driver, Environment, Error, Location, Mailbox,
    Mailboxes, Manner, Place, Rejection, Result, Status,
};
use ailurus_types::MailboxName;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// One file a mailbox; each line after the first is a message.
pub(crate) struct Flat {
    pub(crate) name: &'static str,
    pub(crate) spool: PathBuf,
}

/// A directory with a marker file is a mailbox, and can hold others.
pub(crate) struct Directory {
    pub(crate) name: &'static str,
    pub(crate) marker: &'static str,
    pub(crate) hides: fn(&str) -> bool,
}

/// Takes what nobody claims.
pub(crate) struct Dummy {
    pub(crate) spool: PathBuf,
}

impl Flat {
    fn path(&self, at: &Location) -> Option<PathBuf> {
        match &at.place {
            Place::Inbox => Some(self.spool.clone()),
            Place::Path(path) => Some(path.clone()),
            Place::Special => None,
        }
    }

    fn magic(&self) -> String {
        format!("{}\n", self.name)
    }

    fn messages(&self, at: &Location) -> Memory {
        let memory = Memory::new();
        let text = fs::read_to_string(self.path(at).unwrap()).unwrap();
        memory.make(&at.name);
        for line in text.lines().skip(1) {
            memory.deliver(&at.name, line.as_bytes());
        }
        memory
    }
}

impl Driver for Flat {
    fn name(&self) -> &'static str {
        self.name
    }

    fn abilities(&self) -> Abilities {
        Abilities { creatable: true, ..Abilities::default() }
    }

    fn probe(&self, at: &Location) -> Result<Claim> {
        let Some(path) = self.path(at) else { return Ok(Claim::No(Rejection::BadName)) };
        let Ok(metadata) = fs::metadata(&path) else {
            return Ok(match at.place {
                Place::Inbox => Claim::Empty,
                _ => Claim::No(Rejection::Missing),
            });
        };
        Ok(match () {
            () if metadata.is_dir() => Claim::No(Rejection::WrongFormat),
            () if metadata.len() == 0 => Claim::Empty,
            () => match fs::read(&path) {
                Ok(text) if text.starts_with(self.magic().as_bytes()) => Claim::Valid,
                Ok(_) => Claim::No(Rejection::WrongFormat),
                Err(_) => Claim::No(Rejection::Denied),
            },
        })
    }

    fn create(&self, at: &Location) -> Result<()> {
        let path = self.path(at).unwrap();
        let mut file = fs::File::create_new(&path).map_err(Error::io("create", &path))?;
        file.write_all(self.magic().as_bytes()).map_err(Error::io("write to", &path))
    }

    fn delete(&self, at: &Location) -> Result<()> {
        let path = self.path(at).unwrap();
        fs::remove_file(&path).map_err(Error::io("delete", path))
    }

    fn rename(&self, from: &Location, to: &Location) -> Result<()> {
        let from = self.path(from).unwrap();
        fs::rename(&from, self.path(to).unwrap()).map_err(Error::io("rename", from))
    }

    fn status(&self, at: &Location) -> Result<Status> {
        self.messages(at).status(at)
    }

    fn open(&self, at: &Location, access: Access, manner: Manner) -> Result<Box<dyn Mailbox>> {
        self.messages(at).open(at, access, manner)
    }

    fn append<'d>(&'d self, at: &Location) -> Result<Box<dyn Append + 'd>> {
        Ok(Box::new(Appending { path: self.path(at).unwrap(), magic: self.magic(), text: Vec::new() }))
    }
}

struct Appending {
    path: PathBuf,
    magic: String,
    text: Vec<u8>,
}

impl Append for Appending {
    fn begin(&mut self, _meta: AppendMeta) -> Result<()> {
        Ok(())
    }
    fn write(&mut self, octets: &[u8]) -> Result<()> {
        self.text.extend_from_slice(octets);
        Ok(())
    }
    fn end(&mut self) -> Result<()> {
        self.text.push(b'\n');
        Ok(())
    }
    fn commit(self: Box<Self>) -> Result<Appended> {
        let mut text = fs::read(&self.path).unwrap_or_default();
        if text.is_empty() {
            text.extend_from_slice(self.magic.as_bytes());
        }
        text.extend_from_slice(&self.text);
        fs::write(&self.path, text).map_err(Error::io("write to", &self.path))?;
        Ok(Appended::default())
    }
}

impl Driver for Directory {
    fn name(&self) -> &'static str {
        self.name
    }

    fn abilities(&self) -> Abilities {
        Abilities { creatable: true, inferiors: true, ..Abilities::default() }
    }

    fn probe(&self, at: &Location) -> Result<Claim> {
        Ok(match &at.place {
            Place::Special => Claim::No(Rejection::BadName),
            Place::Path(path) if path.join(self.marker).is_file() => Claim::Valid,
            Place::Path(_) | Place::Inbox => Claim::No(Rejection::Missing),
        })
    }

    fn create(&self, at: &Location) -> Result<()> {
        let path = at.path().unwrap();
        fs::create_dir(path).map_err(Error::io("create", path))?;
        fs::write(path.join(self.marker), "").map_err(Error::io("write to", path))
    }

    fn delete(&self, _at: &Location) -> Result<()> {
        unimplemented!("not needed")
    }

    fn rename(&self, _from: &Location, _to: &Location) -> Result<()> {
        unimplemented!("not needed")
    }

    fn status(&self, _at: &Location) -> Result<Status> {
        unimplemented!("not needed")
    }

    fn open(&self, _at: &Location, _access: Access, _manner: Manner) -> Result<Box<dyn Mailbox>> {
        unimplemented!("not needed")
    }

    fn append<'d>(&'d self, _at: &Location) -> Result<Box<dyn Append + 'd>> {
        unimplemented!("not needed")
    }

    fn hides(&self, _directory: &Path, entry: &OsStr) -> bool {
        entry.to_str().is_some_and(self.hides)
    }
}

impl Driver for Dummy {
    fn name(&self) -> &'static str {
        "dummy"
    }

    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    fn probe(&self, at: &Location) -> Result<Claim> {
        let exists = at.path().is_none_or(Path::exists);
        Ok(if exists && at.place != Place::Special { Claim::Valid } else { Claim::No(Rejection::Missing) })
    }

    fn create(&self, _at: &Location) -> Result<()> {
        unimplemented!("not creatable")
    }

    fn delete(&self, at: &Location) -> Result<()> {
        let path = at.path().unwrap();
        let deleted = if path.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) };
        deleted.map_err(Error::io("delete", path))
    }

    fn rename(&self, from: &Location, to: &Location) -> Result<()> {
        let from = from.path().unwrap();
        fs::rename(from, to.path().unwrap()).map_err(Error::io("rename", from))
    }

    fn status(&self, at: &Location) -> Result<Status> {
        empty(&at.name).status(at)
    }

    fn open(&self, at: &Location, access: Access, manner: Manner) -> Result<Box<dyn Mailbox>> {
        let path = at.path().unwrap_or(&self.spool);
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => Err(Error::NotSelectable(at.name.clone())),
            Ok(metadata) if metadata.len() > 0 => {
                Err(Error::WrongFormat { format: "dummy", path: path.into() })
            }
            _ => empty(&at.name).open(at, access, manner),
        }
    }

    fn append<'d>(&'d self, _at: &Location) -> Result<Box<dyn Append + 'd>> {
        unimplemented!("the dispatch does not ask it")
    }
}

fn empty(name: &MailboxName) -> Memory {
    let memory = Memory::new();
    memory.make(name);
    memory
}

/// A scratch home with mailboxes in these formats.
pub(crate) struct Home {
    pub(crate) directory: TempDir,
    pub(crate) mailboxes: Mailboxes,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(settle: impl FnOnce(&mut Environment)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("home");
        fs::create_dir(&home).unwrap();
        let spool = directory.path().join("spool");
        let mut environment = Environment::new("alice", home, spool.clone(), "h.example");
        settle(&mut environment);
        let flat =
            |name| -> Arc<dyn Driver> { Arc::new(Flat { name, spool: directory.path().join("spool") }) };
        let drivers: Vec<Arc<dyn Driver>> = vec![
            Arc::new(Directory { name: "mix", marker: ".mixmeta", hides: |entry| entry.starts_with(".mix") }),
            Arc::new(Directory {
                name: "mx",
                marker: ".mxindex",
                hides: |entry| entry == ".mxindex" || entry.bytes().all(|octet| octet.is_ascii_digit()),
            }),
            flat("mbx"),
            flat("tenex"),
            flat("mtx"),
            flat("mmdf"),
            flat("unix"),
            Arc::new(Dummy { spool }),
        ];
        Self { mailboxes: Mailboxes::new(Arc::new(environment), drivers), directory }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("home").join(name)
    }

    pub(crate) fn spool(&self) -> PathBuf {
        self.directory.path().join("spool")
    }

    pub(crate) fn create(&self, name: &str) -> Result<()> {
        self.mailboxes.create(&name.into())
    }

    /// Returns what LIST reports, a line each: `name delim=/ \Attribute…`, in its order.
    pub(crate) fn list(&self, reference: &str, pattern: &str) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        self.mailboxes
            .list(reference.as_bytes(), pattern.as_bytes(), &mut |listed| lines.push(line(&listed)))?;
        Ok(lines)
    }

    pub(crate) fn lsub(&self, reference: &str, pattern: &str) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        self.mailboxes
            .lsub(reference.as_bytes(), pattern.as_bytes(), &mut |listed| lines.push(line(&listed)))?;
        Ok(lines)
    }

    /// Appends one message.
    pub(crate) fn append(&self, name: &str, text: &str) -> Result<()> {
        let mut append = self.mailboxes.append(&name.into())?;
        append.begin(AppendMeta { size: text.len() as u64, ..AppendMeta::default() })?;
        append.write(text.as_bytes())?;
        append.end()?;
        append.commit().map(drop)
    }
}

fn line(listed: &ailurus_store::Listed) -> String {
    let delimiter = listed.delimiter.map_or('-', char::from);
    let name = String::from_utf8_lossy(&listed.name);
    let mut line = format!("{name} delim={delimiter}");
    for attribute in listed.attributes.names() {
        line.push(' ');
        line.push_str(attribute);
    }
    line
}

/// Makes something that is neither file nor directory, and that would block whoever opens it.
pub(crate) fn make_fifo(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status().expect("mkfifo is on every Unix");
    assert!(made.success(), "mkfifo {}", path.as_os_str().as_bytes().escape_ascii());
}
