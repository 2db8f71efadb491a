//! What we write: pseudo message and status blocks (spec/formats-unix.md §3, §5).

use super::dialect::Dialect;
use ailurus_store::Environment;
use ailurus_types::{Flags, InternalDate, Keywords, SystemFlags};
use std::io::Write;

const HOST_MAX: usize = 80;

/// The UID state that the first message carries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Base<'k> {
    pub(super) validity: u32,
    pub(super) uid_last: u32,
    pub(super) keywords: &'k Keywords,
}

/// Whether the status block says that a session was told of the message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Old {
    Yes,
    No,
}

/// Appends the status block of a message with the empty line that ends the header. It has the same length whatever
/// the flags are, as long as keywords are short.
pub(super) fn append_block(
    base: Option<Base<'_>>,
    flags: Flags,
    old: Old,
    uid: u32,
    keywords: &Keywords,
    out: &mut Vec<u8>,
) {
    let begin = out.len();
    let width = if let Some(base) = base {
        let Base { validity, uid_last, .. } = base;
        print(out, format_args!("X-IMAPbase: {validity} {uid_last}"));
        append_keyword_list(base.keywords, out);
        out.push(b'\n');
        80
    } else {
        50
    };
    append_status(flags.system, old, out);
    append_x_status(flags.system, out);
    append_x_keywords(flags, keywords, out);
    while out.len() - begin < width {
        out.push(b' ');
    }
    print(out, format_args!("\nX-UID: {uid}\n\n"));
}

/// Appends the fields with which a message arrives that nobody gave a UID yet.
pub(super) fn append_arrival_fields(flags: Flags, keywords: &Keywords, out: &mut Vec<u8>) {
    append_status(flags.system, Old::No, out);
    append_x_status(flags.system, out);
    append_x_keywords(flags, keywords, out);
    out.push(b'\n');
}

fn append_status(system: SystemFlags, old: Old, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Status: ");
    if system.contains(SystemFlags::SEEN) {
        out.push(b'R');
    }
    if old == Old::Yes {
        out.push(b'O');
    }
    out.push(b'\n');
}

fn append_x_status(system: SystemFlags, out: &mut Vec<u8>) {
    out.extend_from_slice(b"X-Status: ");
    for (flag, letter) in [
        (SystemFlags::DELETED, b'D'),
        (SystemFlags::FLAGGED, b'F'),
        (SystemFlags::ANSWERED, b'A'),
        (SystemFlags::DRAFT, b'T'),
    ] {
        if system.contains(flag) {
            out.push(letter);
        }
    }
    out.push(b'\n');
}

fn append_x_keywords(flags: Flags, keywords: &Keywords, out: &mut Vec<u8>) {
    out.extend_from_slice(b"X-Keywords:");
    if flags.keywords.0 == 0 {
        return;
    }
    for keyword in keywords.named(flags.keywords) {
        out.push(b' ');
        out.extend_from_slice(keyword.as_str().as_bytes());
    }
}

fn append_keyword_list(keywords: &Keywords, out: &mut Vec<u8>) {
    for (_, keyword) in keywords.iter() {
        out.push(b' ');
        out.extend_from_slice(keyword.as_str().as_bytes());
    }
}

/// Whether the pseudo message has a message identifier: that of CREATE has none, and in mmdf format another date.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Pseudo {
    Created,
    Rewritten,
}

/// Appends the message that holds the UID state while no other can.
pub(super) fn append_pseudo(
    dialect: Dialect,
    env: &Environment,
    kind: Pseudo,
    base: Base<'_>,
    out: &mut Vec<u8>,
) {
    let now = env.clock.now();
    let date = InternalDate::from_timestamp(now, env.clock.local_offset());
    let host: String = env.host.chars().filter(|c| !c.is_control()).take(HOST_MAX).collect();
    out.extend_from_slice(dialect.start());
    print(out, format_args!("From MAILER-DAEMON {}\n", date.ctime()));
    append_date(dialect, kind, date, out);
    print(out, format_args!("From: Mail System Internal Data <MAILER-DAEMON@{host}>\n"));
    out.extend_from_slice(b"Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\n");
    if kind == Pseudo::Rewritten {
        print(out, format_args!("Message-ID: <{now}@{host}>\n"));
    }
    print(out, format_args!("X-IMAP: {:010} {:010}", base.validity, base.uid_last));
    append_keyword_list(base.keywords, out);
    out.extend_from_slice(
        b"\nStatus: RO\n\n\
          This text is part of the internal format of your mail folder, and is not\n\
          a real message.  It is created automatically by the mail system software.\n\
          If deleted, important folder data will be lost, and it will be re-created\n\
          with the data reset to initial values.\n",
    );
    out.extend_from_slice(dialect.end());
}

fn append_date(dialect: Dialect, kind: Pseudo, date: InternalDate, out: &mut Vec<u8>) {
    let ((year, _, day), (hour, minute, second)) = (date.calendar(), date.clock());
    let (month, zone) = (date.month_name(), date.zone());
    if (dialect, kind) == (Dialect::Mmdf, Pseudo::Created) {
        // The reference adds the zone's name, which we know of one zone only.
        let name = if zone == "+0000" { " (UTC)" } else { "" };
        let weekday = &date.ctime()[..3];
        print(out, format_args!("Date: {weekday}, {day} {month} {year:04} "));
        print(out, format_args!("{hour:02}:{minute:02}:{second:02} {zone}{name}\n"));
    } else {
        print(out, format_args!("Date: {day:02} {month} {year:04} "));
        print(out, format_args!("{hour:02}:{minute:02}:{second:02} {zone}\n"));
    }
}

fn print(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("memory takes all that is written");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_keeps_its_length_when_flags_change() {
        let mut lengths = Vec::new();
        for system in [SystemFlags::NONE, SystemFlags::SEEN, SystemFlags::ALL] {
            for old in [Old::No, Old::Yes] {
                let mut out = Vec::new();
                let flags = Flags { system, ..Flags::default() };
                append_block(None, flags, old, 7, &Keywords::default(), &mut out);
                lengths.push(out.len());
            }
        }
        assert_eq!(lengths, [61; 6]);
    }
}
