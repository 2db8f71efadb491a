//! The man page and the example file, from the declarations of the keys.

use super::keys::{KEYS, Key, TABLES};
use std::fmt::Write as _;

/// Returns `packaging/ailurus.toml`: every key with its default or an example, commented out.
#[must_use]
pub fn example() -> String {
    let mut text = String::from(
        "# Settings of Ailurus: /etc/ailurus.toml. The file is optional, and so is every line of it: what is shown is the\n\
         # default, or an example where there is none. See ailurus.toml(5). Any mistake keeps everybody out until it is\n\
         # mended: run `ailurus check` after a change.\n",
    );
    for (table, about) in TABLES {
        // Into a string: cannot fail.
        write!(text, "\n# {about}\n[{table}]\n").ok();
        for Key { name, sample, about, .. } in KEYS.iter().filter(|key| key.table == table) {
            text.push('\n');
            for line in wrap(about, 100) {
                writeln!(text, "# {line}").ok();
            }
            writeln!(text, "#{name} = {sample}").ok();
        }
    }
    text
}

/// Returns the man page ailurus.toml(5).
#[must_use]
pub fn man_page() -> String {
    let mut text = format!(
        ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n.TH ailurus.toml 5 \"\" \"ailurus {}\" Ailurus\n",
        env!("CARGO_PKG_VERSION")
    );
    text.push_str(INTRODUCTION);
    for (table, about) in TABLES {
        write!(text, ".SS \"[{table}]\"\n{}\n", escape(about)).ok();
        for Key { name, sample, about, old, .. } in KEYS.iter().filter(|key| key.table == table) {
            let about = escape(about);
            let old = match old {
                [] => String::new(),
                old => format!("(In c\\-client.cf: {}.)\n", escape(&old.join(", "))),
            };
            let sample = escape(sample);
            write!(text, ".TP\n\\fB{}\\fR = {sample}\n{about}\n{old}", escape(name)).ok();
        }
    }
    text.push_str(CONCLUSION);
    text
}

const INTRODUCTION: &str = r#".SH NAME
ailurus.toml \- settings of imapd and ailurus serve
.SH SYNOPSIS
.I /etc/ailurus.toml
.SH DESCRIPTION
The servers need no settings. Where the defaults do not suit a host, this file says what does. It is TOML: tables with
keys. The file must be readable by everybody, since a session that a user starts (over ssh) reads it too. It is read for
every connection: nothing has to be started anew.
.PP
.I /etc/c\-client.cf
of UW IMAP is read as well, for what of it still means something. Where both files set the same thing, this one counts,
and
.B ailurus check
says so.
.SS Mistakes
All mistakes of both files are found at once, with line and column: by
.BR "ailurus check" ,
and by the servers in the log. A mistake never makes a server laxer than was meant. With any mistake in ailurus.toml, an
unknown key or a file that cannot be read included, nobody is served until it is mended, and
.B ailurus serve
does not start. A setting in c\-client.cf that cannot be understood is not obeyed; one that protects
(disable\-plaintext, restrict\-mailbox\-access, chroot\-server, allowed\-login\-attempts, modes and the like) falls to its strict side.
.SS Closed box
With closed\-box a session cannot see anything outside of the home directory: neither /etc/nologin nor /etc/imapd.alert after
login, nor the system's log if that is started anew. Locks in /tmp are the box's own; the lock files beside mailboxes and flock(2)
still protect against other programs.
.SH SETTINGS
Each is shown with its default, or with an example where it has none.
"#;

const CONCLUSION: &str = r#".SH FILES
.I /etc/ailurus.toml
.br
.I /etc/c\-client.cf
.br
.I ~/.imaprc
.SH EXAMPLE
.nf
[server]
plaintext = "tls"

[mailboxes]
subdirectory = "mail"
restrict = ["root", "other\-users"]
.fi
.SH "SEE ALSO"
.BR ailurus\-check (8),
.BR ailurus\-serve (8),
.BR imapd (8)
"#;

fn escape(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\*(Aq");
    if escaped.starts_with('.') { format!("\\&{escaped}") } else { escaped }
}

/// Cuts a text into lines of at most so many octets, at spaces.
fn wrap(text: &str, most: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let full = lines.last().is_some_and(|line| !line.is_empty() && line.len() + 1 + word.len() > most);
        if full {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
