//! `ailurus demo`: the whole of it in one go, on sample mail in a scratch home.

use crate::client::Client;
use crate::imapd::{Personal, Role};
use crate::protocol::Listening;
use crate::serve::{Listener, Server};
use crate::{logging, personal};
use ailurus_formats::CREATABLE;
use ailurus_sys::signals::{Signal, SignalPipe};
use ailurus_sys::users;
use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

/// Mail that was delivered, as it lies in the spool: unix format.
const INBOX: &[u8] = include_bytes!("sample/inbox.mbox");
/// For a mailbox in mbx format.
const ARCHIVE: &str = include_str!("sample/archive.eml");
/// For one mailbox in each format.
const LIST: &str = include_str!("sample/list.eml");
/// A newsgroup, whose only article is [`LIST`].
const GROUP: &str = "local.mail";
const USER: &str = "demo";

/// Runs the demonstration; until interrupted, unless it is to end after reading back.
#[must_use]
pub fn demo(once: bool) -> ExitCode {
    match run(once) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ailurus demo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(once: bool) -> Result<(), String> {
    let scratch = Scratch::new().map_err(|error| format!("cannot make a scratch home: {error}"))?;
    let own = Personal {
        user: USER.into(),
        home: scratch.0.join("home"),
        spool: scratch.0.join("spool").join(USER),
        state: scratch.0.join("state"),
        sample: true,
    };
    fill(&own).map_err(|error| format!("cannot write the sample mail: {error}"))?;
    let password = personal::prepare(&own)?.ok_or("the scratch home is not new")?;
    let run_as = give_away(&scratch.0)?;
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let usual = Listening::ALL[..Listening::USUAL].iter();
    let listeners: Vec<_> =
        usual.map(|&listening| Listener::bind(any, listening)).collect::<Result<_, _>>()?;
    let address = |index: usize| {
        let listener: &Listener = &listeners[index];
        listener.socket.local_addr().map_err(|error| error.to_string())
    };
    let tour = Tour {
        plain: address(0)?,
        tls: address(1)?,
        pop: [address(2)?, address(3)?],
        password,
        home: own.home.clone(),
        once,
    };
    let signals = SignalPipe::install(&[Signal::Terminate, Signal::Interrupt, Signal::Hangup, Signal::Child])
        .map_err(|error| error.to_string())?;
    let (stop, stopped) = UnixStream::pair().map_err(|error| error.to_string())?;
    let log = logging::open("ailurus");
    let server = Server::new(listeners, Role::Personal(own), log, 50).run_as(run_as);
    // The tour ends the server by letting go of `stop`: at once if it fails, at its end if only once was asked for.
    let tourist = thread::spawn(move || tour.run(stop));
    server.run(signals, Some(stopped.as_fd()))?;
    let result = tourist.join().map_err(|_| "the tour broke down".to_owned())?;
    drop(scratch);
    result.map_err(|error| format!("the mail could not be read back: {error}"))
}

/// The scratch home, which goes when we go.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> io::Result<Self> {
        let mut random = [0; 8];
        ailurus_sys::process::random_bytes(&mut random).map_err(io::Error::other)?;
        let name = format!("ailurus-demo-{:016x}", u64::from_ne_bytes(random));
        let path = std::env::temp_dir().join(name);
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("ailurus demo: {} is left behind: {error}", self.0.display());
        }
    }
}

fn fill(own: &Personal) -> io::Result<()> {
    for directory in [own.home.as_path(), own.spool.parent().unwrap_or(Path::new("/"))] {
        fs::DirBuilder::new().mode(0o700).create(directory)?;
    }
    fs::write(&own.spool, INBOX)?;
    // Without it, nobody has folders of mh.
    fs::write(own.home.join(".mh_profile"), "Path: formats/mh\n")?;
    fs::DirBuilder::new().mode(0o700).create(own.home.join("formats"))?;
    fs::DirBuilder::new().mode(0o700).create(own.home.join("formats/mh"))?;
    fs::write(own.home.join("formats/phile"), LIST)?;
    let group = own.news().join(GROUP.replace('.', "/"));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&group)?;
    fs::write(group.join("1"), LIST)?;
    fs::write(own.news().join("active"), format!("{GROUP} 0000000001 0000000001 y\n"))
}

/// Gives the scratch home to `nobody` if we are root: sessions never run as root. Returns whom they run as.
fn give_away(scratch: &Path) -> Result<Option<(u32, u32)>, String> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let nobody = users::by_name(b"nobody").map_err(|error| error.to_string())?;
    let nobody = nobody.ok_or("root needs an account called nobody to run the demonstration as")?;
    chown_all(scratch, nobody.uid, nobody.gid).map_err(|error| format!("cannot chown: {error}"))?;
    Ok(Some((nobody.uid, nobody.gid)))
}

fn chown_all(path: &Path, uid: u32, gid: u32) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        for entry in fs::read_dir(path)? {
            chown_all(&entry?.path(), uid, gid)?;
        }
    }
    std::os::unix::fs::lchown(path, Some(uid), Some(gid))
}

/// The guided tour: a client of the server.
struct Tour {
    plain: SocketAddr,
    tls: SocketAddr,
    /// POP3, and POP3 over TLS.
    pop: [SocketAddr; 2],
    password: String,
    home: PathBuf,
    once: bool,
}

impl Tour {
    /// Shows everything. Letting go of `stop` stops the server.
    fn run(&self, stop: UnixStream) -> io::Result<()> {
        println!("A scratch home with sample mail is at {}", self.home.display());
        self.read_back()?;
        println!("\nTo connect: host 127.0.0.1, user {USER}, password {}", self.password);
        println!("  IMAP (STARTTLS possible)  port {}", self.plain.port());
        println!(
            "  IMAP over TLS             port {} (certificate made for this demonstration)",
            self.tls.port()
        );
        println!("  POP3 (STLS possible)      port {}", self.pop[0].port());
        println!("  POP3 over TLS             port {}", self.pop[1].port());
        let login = format!("-u {USER}:{}", self.password);
        println!("For example:\n  curl {login} 'imap://{}/INBOX;MAILINDEX=1'", self.plain);
        println!("  curl {login} --insecure 'imaps://{}/' -X 'STATUS INBOX (MESSAGES UNSEEN)'", self.tls);
        println!("  curl {login} 'pop3://{}/1'", self.pop[0]);
        println!("  openssl s_client -crlf -quiet -connect {}", self.tls);
        println!("  mutt -f imap://{USER}@{}/INBOX", self.plain);
        if self.once {
            return Ok(());
        }
        println!("It stays up until interrupted (Ctrl-C); then the scratch home is removed.");
        io::stdout().flush()?;
        std::mem::forget(stop); // open for as long as the process lives
        Ok(())
    }

    fn read_back(&self) -> io::Result<()> {
        headline("Connect");
        let (client, greeting) = Client::connect(self.plain)?;
        show(b'S', greeting.as_bytes());
        let mut guide = Guide(client);
        println!("C: LOGIN {USER} ...");
        guide.0.command(&format!("LOGIN {USER} {}", self.password))?;
        headline("Make a mailbox of mbx format, and put a message into it");
        guide.run("CREATE #driver.mbx/archive")?;
        guide.append("archive", r"(\Seen $Filed)", ARCHIVE)?;
        headline("Make one mailbox in each format, and read back what went into it");
        read_every_format(&mut guide)?;
        headline("What is there");
        guide.run("LIST \"\" \"%\"")?;
        guide.run("LIST \"\" \"formats/%\"")?;
        guide.run("LIST \"\" \"#mh/*\"")?;
        guide.run("LIST \"\" \"#news.*\"")?;
        guide.run("STATUS archive (MESSAGES UIDNEXT UNSEEN)")?;
        headline("Read the spool, as delivered");
        guide.run("SELECT INBOX")?;
        guide.run("FETCH 1:* (UID FLAGS RFC822.SIZE BODY.PEEK[HEADER.FIELDS (DATE FROM SUBJECT)])")?;
        guide.run("FETCH 3 ENVELOPE")?;
        guide.run("FETCH 3 BODYSTRUCTURE")?;
        guide.run("FETCH 3 BODY.PEEK[2]<0.40>")?;
        headline("Search for a word that is quoted-printable in the message");
        let found = guide.search("Grüße aus Köln")?;
        guide.run("STORE 1 +FLAGS (\\Flagged)")?;
        headline("Read from the mbx mailbox what went into it");
        guide.run("EXAMINE archive")?;
        let read = guide.run("FETCH 1 (FLAGS BODY[TEXT])")?;
        guide.run("LOGOUT")?;
        let same = read.iter().any(|response| contains(response, body_of(ARCHIVE).as_bytes()));
        match (same, found) {
            (true, true) => Ok(()),
            (false, _) => Err(io::Error::other("the message differs from the one that was appended")),
            (_, false) => Err(io::Error::other("the search did not find message 2")),
        }
    }
}

/// Makes the mailboxes that can be made; the others are there.
fn read_every_format(guide: &mut Guide) -> io::Result<()> {
    let made = CREATABLE.map(|format| match format {
        "mh" => (format, "#mh/box".to_owned(), "#mh/box".to_owned()),
        _ => (format, format!("formats/{format}"), format!("#driver.{format}/formats/{format}")),
    });
    for (_, name, create) in &made {
        guide.run(&format!("CREATE {create}"))?;
        guide.append(name, r"(\Seen)", LIST)?;
    }
    let found = [("phile", "formats/phile".to_owned()), ("news", format!("#news.{GROUP}"))];
    for (format, name) in made.map(|(format, name, _)| (format, name)).into_iter().chain(found) {
        guide.run(&format!("STATUS {name} (MESSAGES UIDNEXT UIDVALIDITY)"))?;
        guide.quietly(&format!("EXAMINE {name}"))?;
        // A file that is no mailbox is a message without a header.
        let part = if format == "phile" { "TEXT" } else { "" };
        let read = guide.quietly(&format!("FETCH 1 BODY.PEEK[{part}]"))?;
        if !read.iter().any(|response| contains(response, body_of(LIST).as_bytes())) {
            return Err(io::Error::other(format!("the message in {name} differs from the one put there")));
        }
    }
    println!("   Each of them holds the message as it was put there.");
    Ok(())
}

/// Returns the text of a message as IMAP gives it.
fn body_of(message: &str) -> String {
    message.split_once("\n\n").map_or("", |(_, body)| body).replace('\n', "\r\n")
}

/// The client, with its words printed.
struct Guide(Client);

impl Guide {
    fn run(&mut self, command: &str) -> io::Result<Vec<Vec<u8>>> {
        show(b'C', command.as_bytes());
        let done = self.0.command(command)?;
        for response in &done.untagged {
            show(b'S', response);
        }
        show(b'S', format!("OK {}", done.text).as_bytes());
        Ok(done.untagged)
    }

    fn quietly(&mut self, command: &str) -> io::Result<Vec<Vec<u8>>> {
        self.0.command(command).map(|done| done.untagged)
    }

    fn append(&mut self, mailbox: &str, flags: &str, message: &str) -> io::Result<()> {
        println!("C: APPEND {mailbox} {flags} ...");
        let done = self
            .0
            .command_with(&format!("APPEND {mailbox} {flags}"), message.replace('\n', "\r\n").as_bytes())?;
        show(b'S', format!("OK {}", done.text).as_bytes());
        Ok(())
    }

    /// Returns whether message 2, and it alone, has the text.
    fn search(&mut self, text: &str) -> io::Result<bool> {
        println!("C: SEARCH CHARSET UTF-8 TEXT \"{text}\"");
        let done = self.0.command_with("SEARCH CHARSET UTF-8 TEXT", text.as_bytes())?;
        for response in &done.untagged {
            show(b'S', response);
        }
        Ok(done.untagged.contains(&b"* SEARCH 2".to_vec()))
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn headline(text: &str) {
    println!("\n== {text}");
}

/// Prints a response, long lines cut, what is no text made visible.
fn show(who: u8, response: &[u8]) {
    const MOST: usize = 400;
    let who = char::from(who);
    for line in response.split(|&octet| octet == b'\n') {
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end();
        let cut: String = line.chars().map(visible).take(MOST).collect();
        let more = if line.chars().count() > MOST { " ..." } else { "" };
        println!("{who}: {cut}{more}");
    }
}

fn visible(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => '?',
        c => c,
    }
}
