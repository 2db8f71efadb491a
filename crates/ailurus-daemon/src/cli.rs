//! The command lines of all programs: `--help`, man pages and completions come from here.

use crate::imapd::{Personal, Role};
use crate::protocol::{Listening, Protocol};
use crate::{check, demo, imapd, passwd, repair, serve};
use clap::{Args, CommandFactory, Parser, Subcommand};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// Returns the command line of `ailurus`.
#[must_use]
pub fn ailurus_command() -> clap::Command {
    Ailurus::command()
}

/// Returns the command line of `imapd`, which has no options but --help and --version.
#[must_use]
pub fn imapd_command() -> clap::Command {
    Imapd::command()
}

/// Returns the command line of `ipop3d`.
#[must_use]
pub fn ipop3d_command() -> clap::Command {
    Ipop3d::command()
}

/// Returns the command line of `ipop2d`.
#[must_use]
pub fn ipop2d_command() -> clap::Command {
    Ipop2d::command()
}

/// Runs the program `ailurus`; under the name of one of the others (a link) it is that.
#[must_use]
pub fn ailurus_main() -> ExitCode {
    match imapd::program_name("ailurus").as_str() {
        "imapd" | "simapd" | "rimapd" => return imapd_main(),
        "ipop3d" => return ipop3d_main(),
        "ipop2d" => return ipop2d_main(),
        _ => {}
    }
    match Ailurus::parse().command {
        Task::Serve(arguments) => serve::serve(&arguments.asked()),
        Task::Demo { once } => demo::demo(once),
        Task::Check => check::check(),
        Task::Verify { mailboxes } => repair::verify(&mailboxes),
        Task::Repair { mailbox, apply } => repair::repair(&mailbox, apply),
        Task::Passwd(arguments) => arguments.run(),
        Task::Connection(arguments) => arguments.run(),
        Task::Completions { shell } => {
            clap_complete::generate(shell, &mut ailurus_command(), "ailurus", &mut std::io::stdout());
            ExitCode::SUCCESS
        }
    }
}

/// Runs the program `imapd`.
#[must_use]
pub fn imapd_main() -> ExitCode {
    of_inetd(Protocol::Imap, &imapd_command)
}

/// Runs the program `ipop3d`.
#[must_use]
pub fn ipop3d_main() -> ExitCode {
    of_inetd(Protocol::Pop3, &ipop3d_command)
}

/// Runs the program `ipop2d`.
#[must_use]
pub fn ipop2d_main() -> ExitCode {
    of_inetd(Protocol::Pop2, &ipop2d_command)
}

fn of_inetd(protocol: Protocol, command: &dyn Fn() -> clap::Command) -> ExitCode {
    // inetd.conf has arguments that the original never looked at: only these two are ours.
    let asked = std::env::args_os().nth(1);
    if asked
        .is_some_and(|argument| ["--help", "-h", "--version", "-V"].iter().any(|&known| argument == known))
    {
        // Prints what was asked for, and ends.
        let _matches = command().get_matches_from(std::env::args_os().take(2));
        return ExitCode::SUCCESS;
    }
    imapd::program(protocol)
}

/// IMAP and POP server for the mailboxes that Unix programs use.
///
/// Serves the mailboxes of UW IMAP and Unix (the traditional mbox format, mix, mbx, mh and others), shared with mutt,
/// procmail, Postfix and the original UW IMAP at the same time. No configuration file is needed.
#[derive(Debug, Parser)]
#[command(name = "ailurus", version, arg_required_else_help = true)]
struct Ailurus {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Serve IMAP and POP3 until told to stop.
    ///
    /// As root: the mail server of this host, ports 143 and 993 (IMAP), 110 and 995 (POP3), for its users with their passwords
    /// (PAM services "imap" and "pop", else shadow; /etc/cram-md5.pwd instead of both if it exists). Certificate:
    /// /etc/ssl/certs/imapd.pem with /etc/ssl/private/imapd.pem; POP3 can have another, ipop3d.pem.
    ///
    /// As anyone else: your own server for your own mailboxes, on loopback ports 1143, 1993, 1110 and 1995, with a password
    /// and a certificate that are made on the first start and kept in ~/.local/state/ailurus.
    ///
    /// The setting "protocols" leaves protocols out, changes their ports, and asks for POP2.
    ///
    /// Logs go to syslog (facilities mail, auth and daemon), or to standard error where that is a terminal or there is no
    /// syslog; AILURUS_LOG=stderr or AILURUS_LOG=syslog decides otherwise.
    ///
    /// Sockets from systemd (LISTEN_FDS) are used if given. SIGTERM lets sessions end. Certificates are read anew for
    /// every connection.
    #[command(after_long_help = FILES)]
    Serve(Serve),
    /// Show it at work: sample mail in a scratch home, served, and read back through IMAP.
    ///
    /// Stays up until interrupted, so that a mail program can be tried on it, then removes the scratch home.
    Demo {
        /// End when the mail has been read back.
        #[arg(long)]
        once: bool,
    },
    /// Look over this host and report every problem at once, with what to do.
    ///
    /// Exit status 0 if all is well, 1 if something is not. Run it as root for the mail server of the host, as
    /// yourself for your own mailboxes.
    Check,
    /// Look over mailboxes, and say what is wrong with them and where.
    ///
    /// Changes nothing, not even a time, and takes no lock that keeps others waiting. Damage is what was lost or cannot be
    /// reached; an oddity is what the next program that opens the mailbox copes with.
    ///
    /// Exit status 0 if there is no damage, 1 if there is, 2 if a mailbox could not be looked at.
    Verify {
        /// Names as in a mail program: INBOX, a file or directory below the home, or an absolute path. #driver.FORMAT/NAME for one
        /// that is too damaged to be known as a mailbox of its format.
        #[arg(value_name = "MAILBOX", required = true)]
        mailboxes: Vec<OsString>,
    },
    /// Salvage a damaged mailbox.
    ///
    /// Writes all that can be read of it into a new mailbox beside it, MAILBOX.salvaged, and octets that fit no message into
    /// MAILBOX.leftover: none is lost. UIDs, flags, keywords and dates of readable messages stay. The damaged mailbox is not
    /// changed unless asked for; nobody else may have it open.
    ///
    /// For the formats unix, mmdf, mbx, mtx, tenex and mix. Exit status 0 if nothing was wrong or the salvaged mailbox has its place
    /// now, 1 if it was only shown, 2 if nothing could be done.
    Repair {
        /// A name as in a mail program, or #driver.FORMAT/NAME for one that is too damaged to be known as a mailbox of its format.
        #[arg(value_name = "MAILBOX")]
        mailbox: OsString,
        /// Put the salvaged mailbox in the place of the damaged one, which is kept as MAILBOX.damaged.
        #[arg(long)]
        apply: bool,
    },
    /// Change the databases of passwords.
    ///
    /// As root those of the host: verifiers for SCRAM in /etc/ailurus.passwd, from which nobody can read the password; and, if that
    /// file is there or --cram-md5 asks for it, the password itself in /etc/cram-md5.pwd, which CRAM-MD5 and APOP need. As anyone else:
    /// the password of your own server.
    ///
    /// A password that a client sends as it is typed is checked against /etc/cram-md5.pwd if the user has an entry in it; else
    /// against /etc/ailurus.passwd if the user has an entry there; else against the system's, but never while there is a
    /// /etc/cram-md5.pwd.
    ///
    /// The password is read from the terminal, or from standard input if that is none; never from the command line.
    Passwd(Passwd),
    /// One connection on standard input and output, for a server that accepted it.
    #[command(hide = true)]
    Connection(Connection),
    /// Print completions for a shell.
    #[command(hide = true)]
    Completions {
        /// Which one.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
struct Serve {
    /// Listen here for IMAP (STARTTLS), and on no usual port of any protocol; may be repeated.
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = address)]
    listen: Vec<SocketAddr>,
    /// The same for IMAP over TLS.
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = address)]
    tls_listen: Vec<SocketAddr>,
    /// The same for POP3 (STLS).
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = address)]
    pop3_listen: Vec<SocketAddr>,
    /// The same for POP3 over TLS.
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = address)]
    pop3_tls_listen: Vec<SocketAddr>,
    /// The same for POP2, which has no TLS.
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = address)]
    pop2_listen: Vec<SocketAddr>,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "an address and a port are wanted, such as 127.0.0.1:1143 or [::1]:1143".into())
}

impl Serve {
    fn asked(&self) -> Vec<(Listening, SocketAddr)> {
        let Self { listen, tls_listen, pop3_listen, pop3_tls_listen, pop2_listen } = self;
        let all = [listen, tls_listen, pop3_listen, pop3_tls_listen, pop2_listen];
        let of = Listening::ALL.into_iter().zip(all);
        of.flat_map(|(listening, addresses)| addresses.iter().map(move |&address| (listening, address)))
            .collect()
    }
}

#[derive(Debug, Args)]
struct Passwd {
    /// The user to add or to change.
    #[arg(value_name = "USER", conflicts_with_all = ["remove", "list"])]
    user: Option<String>,
    /// Remove this user.
    #[arg(long, value_name = "USER")]
    remove: Option<String>,
    /// Print the users that have an entry.
    #[arg(long, conflicts_with = "remove")]
    list: bool,
    /// Keep the password itself as well, for CRAM-MD5 and APOP.
    #[arg(long, conflicts_with_all = ["remove", "list", "scram_only"])]
    cram_md5: bool,
    /// Do not keep the password itself, and remove one that was kept: no CRAM-MD5 and no APOP for this user.
    #[arg(long, conflicts_with_all = ["remove", "list", "file"])]
    scram_only: bool,
    /// A CRAM-MD5 database (lines of user, TAB, password) to change instead.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Passwd {
    fn run(self) -> ExitCode {
        let kinds = match (self.cram_md5, self.scram_only) {
            (_, true) => passwd::Kinds::VerifiersOnly,
            (true, false) => passwd::Kinds::WithSecret,
            (false, false) => passwd::Kinds::Usual,
        };
        let action = match (self.remove, self.list) {
            (Some(user), _) => passwd::Action::Remove(user),
            (None, true) => passwd::Action::List,
            (None, false) => passwd::Action::Set(self.user, kinds),
        };
        passwd::passwd(action, self.file)
    }
}

#[derive(Debug, Args)]
struct Connection {
    /// What is spoken: `imap`, `pop3s` and so on.
    #[arg(long)]
    service: Listening,
    #[arg(long, requires_all = ["home", "spool", "state"])]
    user: Option<String>,
    #[arg(long)]
    home: Option<PathBuf>,
    #[arg(long)]
    spool: Option<PathBuf>,
    #[arg(long)]
    state: Option<PathBuf>,
    #[arg(long, requires = "user")]
    sample: bool,
}

impl Connection {
    fn run(self) -> ExitCode {
        let role = match (self.user, self.home, self.spool, self.state) {
            (Some(user), Some(home), Some(spool), Some(state)) => {
                Role::Personal(Personal { user, home, spool, state, sample: self.sample })
            }
            _ => Role::Host,
        };
        imapd::connection(&role, self.service.protocol, self.service.tls)
    }
}

/// One IMAP connection on standard input and output.
///
/// Started by inetd, xinetd, systemd (Accept=yes, StandardInput=socket) or ssh (as rimapd). As root it asks for user and
/// password and becomes that user; started by anyone else it serves that user's mailboxes without asking. On the port of the
/// service "imaps" TLS comes first. Other arguments are ignored.
///
/// Logs go to syslog (facilities mail and auth), or to standard error where that is a terminal or there is no syslog;
/// AILURUS_LOG=stderr or AILURUS_LOG=syslog decides otherwise.
#[derive(Debug, Parser)]
#[command(name = "imapd", version, after_long_help = FILES)]
struct Imapd {}

/// One POP3 connection on standard input and output.
///
/// Started by inetd, xinetd or systemd (Accept=yes, StandardInput=socket). As root it asks for user and password and becomes
/// that user; started by anyone else it serves that user alone, who logs in with the password of `ailurus serve`. On the port of
/// the service "pop3s" TLS comes first. Other arguments are ignored.
///
/// The maildrop is the user's INBOX, of any format. Nothing in it is changed before QUIT; then what was deleted in this
/// session is expunged, and no other message.
///
/// Logs go to syslog (facilities mail and auth), or to standard error where that is a terminal or there is no syslog;
/// AILURUS_LOG=stderr or AILURUS_LOG=syslog decides otherwise.
#[derive(Debug, Parser)]
#[command(name = "ipop3d", version, after_long_help = POP_FILES)]
struct Ipop3d {}

/// One POP2 connection on standard input and output.
///
/// Started by inetd, xinetd or systemd for the service "pop2" (port 109), as ipop3d for POP3. The protocol (RFC 937) has no TLS:
/// where passwords may not be sent in the clear, nobody is served.
#[derive(Debug, Parser)]
#[command(name = "ipop2d", version, after_long_help = POP_FILES)]
struct Ipop2d {}

/// What is shown behind the options of `ipop3d` and `ipop2d`.
const POP_FILES: &str = "\
Files:
  /etc/ssl/certs/ipop3d-ADDRESS.pem, ipop3d-NAME.pem, ipop3d.pem
      Certificate chains, as imapd(8) tells of its own; if there are
      none of these names, POP3 uses those of imapd.
  /etc/pam.d/pop
      How PAM checks passwords. Without it shadow is used.
  /etc/cram-md5.pwd
      Passwords for CRAM-MD5 and APOP. While it exists, no password of
      the system counts.
  /etc/ailurus.passwd
      Verifiers for SCRAM, made by ailurus passwd. Who has an entry has
      that password and not the system's.
  /etc/ailurus.toml, /etc/c-client.cf
      Settings, if there are any: see ailurus.toml(5).
  /var/mail/USER, ~/mbox, ~/INBOX
      INBOX; instead of it a traditional mailbox, or one in another
      format, to which new mail is moved.
  /tmp/.DEVICE.INODE, MAILBOX.lock
      Locks, shared with UW IMAP, mutt, procmail and others.

Signals to a session:
  SIGUSR2 ends it for another program that wants the mailbox, if the
  client has said nothing for five minutes. SIGHUP and SIGTERM end it
  at once. Nothing that was not yet done at QUIT is done then.";

/// What is shown behind the options of `imapd` and `ailurus serve`.
const FILES: &str = "\
Files:
  /etc/ssl/certs/imapd-ADDRESS.pem, imapd-NAME.pem, imapd.pem
      Certificate chain, the server's own first: for connections to
      that local address, for clients that ask for that name, for all
      others. Keys have the same names in /etc/ssl/private, or are in
      the same file. Then /etc/pki/tls/certs and .../private, then
      /usr/local/ssl/certs.
  /etc/pam.d/imap
      How PAM checks passwords. Without it shadow is used.
  /etc/cram-md5.pwd
      Passwords for CRAM-MD5 and APOP. While it exists, no password of
      the system counts.
  /etc/ailurus.passwd
      Verifiers for SCRAM, made by ailurus passwd. Who has an entry has
      that password and not the system's.
  /etc/anonymous.newsgroups
      While it exists, anybody can log in as anonymous and read #news.,
      #ftp/ and #public/.
  /etc/ailurus.toml, /etc/c-client.cf
      Settings, if there are any: see ailurus.toml(5). Mistakes are
      logged, and shown by ailurus check.
  /etc/nologin
      Nobody is served while it exists, and sessions end.
  /etc/imapd.alert, ~/.imapalert
      Shown to everybody, and to that user.
  /var/mail/USER, ~/mbox, ~/INBOX
      INBOX; instead of it a traditional mailbox, or one in another
      format, to which new mail is moved.
  ~/.mailboxlist, ~/.mailboxuse
      Subscriptions; which mailbox is for what is sent, and the like.
  /tmp/.DEVICE.INODE, MAILBOX.lock
      Locks, shared with UW IMAP, mutt, procmail and others.

Signals to a session:
  SIGHUP closes the mailbox and ends it. SIGUSR2 does so for another
  program that wants the mailbox. SIGTERM ends it at once: changed
  flags that are in memory only are lost.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_declarations_are_sound() {
        ailurus_command().debug_assert();
        imapd_command().debug_assert();
        ipop3d_command().debug_assert();
        ipop2d_command().debug_assert();
    }

    #[test]
    fn a_personal_connection_needs_all_of_it() {
        let parse =
            |arguments: &[&str]| Ailurus::try_parse_from([&["ailurus", "connection"], arguments].concat());
        let parse = |arguments: &[&str]| parse(&[&["--service", "pop3s"], arguments].concat());
        assert!(parse(&["--user", "ada"]).is_err());
        assert!(parse(&[]).is_ok());
        assert!(parse(&["--user", "ada", "--home", "/h", "--spool", "/s", "--state", "/t"]).is_ok());
    }
}
