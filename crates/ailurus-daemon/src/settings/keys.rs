//! The keys of `/etc/ailurus.toml`: the one place where each is declared, for the reader, the man page and the example file.

use super::toml::Value;
use super::{Mode, Settings, Space, Spool, format, host_name, keyword, near};
use crate::client_certificate::CertificateUser;
use crate::protocol::{Listening, Wanted};
use ailurus_server::{ImapUrl, Plaintext};
use ailurus_store::{Advertise, Restrictions};
use ailurus_sys::syslog::Facility;

/// A key.
pub(super) struct Key {
    /// The table that it is in.
    pub(super) table: &'static str,
    /// Its name.
    pub(super) name: &'static str,
    /// Its default as it would be written, or an example where it has none.
    pub(super) sample: &'static str,
    /// What it means, in sentences.
    pub(super) about: &'static str,
    /// What says the same in the original's file.
    pub(super) old: &'static [&'static str],
    /// Takes the value, or complains of it.
    pub(super) take: fn(&mut Settings, &mut Value<'_>),
}

/// The tables, in their order.
pub(super) const TABLES: [(&str, &str); 7] = [
    ("server", "Who may come in, and how."),
    ("mailboxes", "Where mailboxes are, which may be named, and how they are made."),
    ("namespaces", "What users share: #ftp/, #public/ and #shared/."),
    (
        "mh",
        "Folders of mh: #mh/ and #mhinbox, for users who have a ~/.mh_profile, or for all if there is a path here.",
    ),
    ("news", "A news spool of this host: #news."),
    (
        "referrals",
        "Users and mailboxes that have moved to other servers: clients of IMAP that can follow are told where to.",
    ),
    ("modes", "Modes of what is made, octal and in quotes, whatever the umask is."),
];

/// All keys, in the order of the tables.
pub(super) const KEYS: [Key; 51] = [
    Key {
        table: "server",
        name: "host-name",
        sample: "\"mail.example.org\"",
        about: "The name of this host, for greetings and lock files. Without it, what the resolver says of the address.",
        old: &["local-host"],
        take: |settings, value| settings.host_name = value.parse(host_name),
    },
    Key {
        table: "server",
        name: "protocols",
        sample: "[\"imap\", \"imaps\", \"pop3\", \"pop3s\"]",
        about: "What `ailurus serve` listens for: \"imap\", \"pop3\" and \"pop2\", with an s behind the first two inside TLS; each \
                on its usual port or on another behind a colon, such as \"pop3:2110\".",
        old: &[],
        take: protocols,
    },
    Key {
        table: "server",
        name: "plaintext",
        sample: "\"tls\"",
        about: "Passwords as they are typed: \"tls\" inside TLS only, \"allowed\" always, \"never\" not even there. Without \
                it: \"tls\" for the network, \"allowed\" for this host's own clients.",
        old: &["disable-plaintext"],
        take: |settings, value| {
            let words =
                [("allowed", Plaintext::Allowed), ("tls", Plaintext::OnlyTls), ("never", Plaintext::Never)];
            settings.plaintext = value.word(&words);
        },
    },
    Key {
        table: "server",
        name: "plaintext-clients",
        sample: "[\"192.0.2.7\", \"webmail.example.org\"]",
        about: "Clients that may send passwords as they are typed all the same, by address or name.",
        old: &["plaintext-allowed-clients"],
        take: |settings, value| settings.plaintext_clients = value.list(client).unwrap_or_default(),
    },
    Key {
        table: "server",
        name: "login-attempts",
        sample: "3",
        about: "How many logins a connection may try.",
        old: &["allowed-login-attempts"],
        take: |settings, value| settings.login_attempts = value.number(1..=100),
    },
    Key {
        table: "server",
        name: "sessions",
        sample: "2000",
        about: "How many sessions `ailurus serve` has at a time. (A person's own server has 100.)",
        old: &[],
        take: |settings, value| settings.sessions = value.number(1..=1_000_000),
    },
    Key {
        table: "server",
        name: "sessions-of-address",
        sample: "200",
        about: "How many of them may come from one address, or one IPv6 network of 64 bits.",
        old: &[],
        take: |settings, value| settings.sessions_of_address = value.number(1..=1_000_000),
    },
    Key {
        table: "server",
        name: "sessions-of-user",
        sample: "100",
        about: "How many of them may be one user's. All anonymous sessions are those of one user.",
        old: &[],
        take: |settings, value| settings.sessions_of_user = value.number(1..=1_000_000),
    },
    Key {
        table: "server",
        name: "trusted-clients",
        sample: "[\"127.0.0.1\", \"::1\"]",
        about: "Clients, by address, behind which are many users: webmail, and proxies. `ailurus serve` neither limits how \
                many sessions come from them nor slows them down after many wrong passwords.",
        old: &[],
        take: |settings, value| {
            settings.trusted_clients =
                value.list(|text| text.parse().map_err(|_| format!("not an address: {text}")));
        },
    },
    Key {
        table: "server",
        name: "client-ca",
        sample: "\"/etc/ssl/mail-users.pem\"",
        about: "The certificates, in PEM, of those who certify users of this host, and nobody else: whom they certify can log in \
                with SASL EXTERNAL and needs no password. Without it clients are asked for no certificate.",
        old: &[],
        take: |settings, value| settings.client_ca = value.path(),
    },
    Key {
        table: "server",
        name: "client-certificate-user",
        sample: "\"common-name\"",
        about: "Which user a certificate is of: the \"common-name\" of its subject, or the part before the @ of its first \
                mail address (\"email\").",
        old: &[],
        take: |settings, value| {
            let words = [("common-name", CertificateUser::CommonName), ("email", CertificateUser::Email)];
            settings.certificate_user = value.word(&words);
        },
    },
    Key {
        table: "server",
        name: "anonymous-home",
        sample: "\"/var/mail/anonymous\"",
        about: "The home of the anonymous user, who can log in where there is a file /etc/anonymous.newsgroups.",
        old: &["anonymous-home-directory"],
        take: |settings, value| settings.anonymous_home = value.path(),
    },
    Key {
        table: "server",
        name: "reverse-dns",
        sample: "true",
        about: "Whether the names of clients' addresses are looked up, for the log.",
        old: &["allow-reverse-dns"],
        take: |settings, value| settings.reverse_dns = value.flag(),
    },
    Key {
        table: "server",
        name: "log-facility",
        sample: "\"mail\"",
        about: "The facility of syslog for lines about mail: \"mail\", \"daemon\", or \"local0\" to \"local7\". Failed logins are \
                always told to \"auth\", and what is about the server itself to \"daemon\".",
        old: &[],
        take: |settings, value| {
            settings.log_facility =
                value.word(&Facility::FOR_MAIL.map(|facility| (facility.name(), facility)));
        },
    },
    Key {
        table: "server",
        name: "status-warning",
        sample: "true",
        about: "Whether a client that asks for the STATUS of the mailbox that it has selected is told that it should not. It \
                gets its answer in any case.",
        old: &[],
        take: |settings, value| settings.status_warning = value.flag(),
    },
    Key {
        table: "server",
        name: "user-config",
        sample: "false",
        about: "Whether a user's ~/.imaprc (and the keywords of ~/.mminit) is read after login. It has the form of \
                /etc/c-client.cf, must belong to the user, and may set formats, keywords, from-widget, hide-dot-files, \
                list-maximum-level, mail-subdirectory, mh-path, mh-allow-inbox, news-state-file, mailbox-protection and \
                directory-protection.",
        old: &["allow-user-config"],
        take: |settings, value| settings.user_config = value.flag(),
    },
    Key {
        table: "mailboxes",
        name: "spool",
        sample: "\"/var/mail/{user}\"",
        about: "The file that new mail is delivered to: a path with {user} in it, or one that starts with {home}, such as \
                \"{home}/INBOX\".",
        old: &["system-inbox"],
        take: |settings, value| settings.spool = value.parse(Spool::template),
    },
    Key {
        table: "mailboxes",
        name: "mbox-as-inbox",
        sample: "true",
        about: "Whether a traditional mailbox ~/mbox is INBOX, to which new mail is moved. If not, it is a mailbox like others.",
        old: &[],
        take: |settings, value| settings.mbox_inbox = value.flag(),
    },
    Key {
        table: "mailboxes",
        name: "subdirectory",
        sample: "\"mail\"",
        about: "The directory below the home where mailboxes are; without it, the home itself.",
        old: &["mail-subdirectory"],
        take: |settings, value| settings.subdirectory = value.parse(super::relative),
    },
    Key {
        table: "mailboxes",
        name: "restrict",
        sample: "[]",
        about: "Names that may not be used: \"root\" (those that start with /, but for what is the user's own), \
                \"other-users\" (~user/name), \"dots\" (with .. or // or /~ in them), \"all\". Any of them forbids dots.",
        old: &["restrict-mailbox-access"],
        take: |settings, value| settings.restrictions = restrictions(value),
    },
    Key {
        table: "mailboxes",
        name: "closed-box",
        sample: "false",
        about: "Confine each user to the home directory by chroot(2) at login. INBOX is the file INBOX there, nothing is \
                shared, and programs outside do not see the locks. A session that the user starts (over ssh) has the same \
                mailboxes, with all names restricted.",
        old: &["chroot-server"],
        take: |settings, value| settings.closed_box = value.flag(),
    },
    Key {
        table: "mailboxes",
        name: "black-box",
        sample: "\"/srv/mail\"",
        about: "Keep all users' mail below this directory, each in one of the user's name that takes the place of the home. \
                INBOX is the file INBOX there. Who has none cannot log in.",
        old: &["black-box-directory"],
        take: |settings, value| settings.black_box = value.path(),
    },
    Key {
        table: "mailboxes",
        name: "black-box-default",
        sample: "\"/srv/mail/guest\"",
        about: "The directory of those who have none in the black box.",
        old: &["black-box-default-home-directory"],
        take: |settings, value| settings.black_box_default = value.path(),
    },
    Key {
        table: "mailboxes",
        name: "create-format",
        sample: "\"unix\"",
        about: "The format of new mailboxes, such as \"unix\" or \"mbx\".",
        old: &["new-mailbox-format", "new-folder-format"],
        take: |settings, value| settings.create_format = value.parse(format),
    },
    Key {
        table: "mailboxes",
        name: "empty-format",
        sample: "\"unix\"",
        about: "The format that an empty file gets with its first message, or \"none\": empty files are no mailboxes.",
        old: &["empty-mailbox-format", "empty-folder-format"],
        take: |settings, value| {
            let read = |text: &str| if text == "none" { Ok(None) } else { format(text).map(Some) };
            settings.empty_format = value.parse(read);
        },
    },
    Key {
        table: "mailboxes",
        name: "keywords",
        sample: "[\"Work\", \"Later\"]",
        about: "Keywords that new mailboxes have from the start, 30 at most.",
        old: &["keywords"],
        take: keywords,
    },
    Key {
        table: "mailboxes",
        name: "quote-from",
        sample: "\"always\"",
        about: "Which lines of a message get a > before them in the unix format: \"always\" all that start with \"From \", \
                \"header-only\" those that would be taken for the start of a message.",
        old: &["from-widget"],
        take: |settings, value| {
            settings.header_only = value.word(&[("always", false), ("header-only", true)])
        },
    },
    Key {
        table: "mailboxes",
        name: "hide-dot-files",
        sample: "false",
        about: "Whether names that start with a dot are left out of lists.",
        old: &["hide-dot-files"],
        take: |settings, value| settings.hide_dot_files = value.flag(),
    },
    Key {
        table: "mailboxes",
        name: "list-depth",
        sample: "20",
        about: "How many levels of directories a list goes down.",
        old: &["list-maximum-level"],
        take: |settings, value| {
            let depth = value.number(0..=255);
            settings.list_depth = depth.and_then(|depth| usize::try_from(depth).ok());
        },
    },
    Key {
        table: "mailboxes",
        name: "lock-timeout",
        sample: "300",
        about: "How long another program's lock file (MAILBOX.lock) is waited for and respected, in seconds.",
        old: &["dot-lock-file-timeout"],
        take: |settings, value| settings.dot_lock_timeout = value.number(10..=86_400),
    },
    Key {
        table: "namespaces",
        name: "advertise",
        sample: "\"usual\"",
        about: "What the command NAMESPACE tells of: \"usual\", \"world\" (the root of the file system as well), \"limited\" \
                (neither other users nor #ftp/ and news).",
        old: &["advertise-the-world", "limited-advertise"],
        take: |settings, value| {
            let words =
                [("usual", Advertise::Usual), ("world", Advertise::World), ("limited", Advertise::Limited)];
            settings.advertise = value.word(&words);
        },
    },
    Key {
        table: "namespaces",
        name: "automatic",
        sample: "true",
        about: "Whether a namespace that has no directory here is the home of a system user, where there is one: ftp, \
                imappublic, imapshared.",
        old: &["disable-automatic-shared-namespaces"],
        take: |settings, value| settings.automatic = value.flag(),
    },
    Key {
        table: "namespaces",
        name: "ftp",
        sample: "\"/srv/ftp\"",
        about: "The directory of #ftp/.",
        old: &["ftp-export-directory"],
        take: |settings, value| settings.homes[Space::Ftp as usize] = Some(value.path()),
    },
    Key {
        table: "namespaces",
        name: "public",
        sample: "\"/srv/mail/public\"",
        about: "The directory of #public/.",
        old: &["public-home-directory"],
        take: |settings, value| settings.homes[Space::Public as usize] = Some(value.path()),
    },
    Key {
        table: "namespaces",
        name: "shared",
        sample: "\"/srv/mail/shared\"",
        about: "The directory of #shared/.",
        old: &["shared-home-directory"],
        take: |settings, value| settings.homes[Space::Shared as usize] = Some(value.path()),
    },
    Key {
        table: "mh",
        name: "path",
        sample: "\"Mail\"",
        about: "Where folders are: below the home, or starting at the root. Without it, where the user's profile says.",
        old: &["mh-path"],
        take: |settings, value| settings.mh_path = value.parse(super::absolute_or_relative),
    },
    Key {
        table: "mh",
        name: "inbox",
        sample: "false",
        about: "Whether INBOX is the folder inbox of users who have one.",
        old: &["mh-allow-inbox"],
        take: |settings, value| settings.mh_inbox = value.flag(),
    },
    Key {
        table: "news",
        name: "active",
        sample: "\"/var/lib/news/active\"",
        about: "The file that lists the groups.",
        old: &["news-active-file"],
        take: |settings, value| settings.news_active = value.path(),
    },
    Key {
        table: "news",
        name: "spool",
        sample: "\"/var/spool/news\"",
        about: "The directory of the articles.",
        old: &["news-spool-directory"],
        take: |settings, value| settings.news_spool = value.path(),
    },
    Key {
        table: "news",
        name: "state",
        sample: "\".newsrc\"",
        about: "The file below the home that says which groups a user reads, and which articles were read.",
        old: &["news-state-file"],
        take: |settings, value| settings.news_state = value.parse(super::relative),
    },
    Key {
        table: "referrals",
        name: "users",
        sample: "{ ada = \"imap://mail2.example.org/\" }",
        about: "Who has moved, and where to. Whose account is still here is told when the password is right; whose account is \
                gone, whatever the password. Nobody of them can log in here.",
        old: &[],
        take: |settings, value| settings.referrals.users = value.map(ImapUrl::parse).unwrap_or_default(),
    },
    Key {
        table: "referrals",
        name: "mailboxes",
        sample: "{ \"archive\" = \"imap://mail2.example.org/archive\" }",
        about: "Which mailboxes have moved, with all that is below them, and where to. Their names are those that users have for \
                them here.",
        old: &[],
        take: |settings, value| settings.referrals.mailboxes = value.map(ImapUrl::parse).unwrap_or_default(),
    },
    mode(
        "mailbox",
        "\"0600\"",
        "Mailboxes of the user's own.",
        &["mailbox-protection"],
        |settings, value| {
            settings.modes[Mode::Mailbox as usize] = value.mode(Mode::Mailbox);
        },
    ),
    mode(
        "directory",
        "\"0700\"",
        "Directories of the user's own.",
        &["directory-protection"],
        |settings, value| {
            settings.modes[Mode::Directory as usize] = value.mode(Mode::Directory);
        },
    ),
    mode(
        "lock",
        "\"0666\"",
        "Lock files, which every program has to open.",
        &["lock-protection"],
        |settings, value| {
            settings.modes[Mode::Lock as usize] = value.mode(Mode::Lock);
        },
    ),
    mode("ftp", "\"0644\"", "Mailboxes below #ftp/.", &["ftp-protection"], |settings, value| {
        settings.modes[Mode::Ftp as usize] = value.mode(Mode::Ftp);
    }),
    mode(
        "ftp-directory",
        "\"0755\"",
        "Directories there.",
        &["ftp-directory-protection"],
        |settings, value| {
            settings.modes[Mode::FtpDirectory as usize] = value.mode(Mode::FtpDirectory);
        },
    ),
    mode("public", "\"0666\"", "Mailboxes below #public/.", &["public-protection"], |settings, value| {
        settings.modes[Mode::Public as usize] = value.mode(Mode::Public);
    }),
    mode(
        "public-directory",
        "\"0777\"",
        "Directories there.",
        &["public-directory-protection"],
        |settings, value| {
            settings.modes[Mode::PublicDirectory as usize] = value.mode(Mode::PublicDirectory);
        },
    ),
    mode("shared", "\"0660\"", "Mailboxes below #shared/.", &["shared-protection"], |settings, value| {
        settings.modes[Mode::Shared as usize] = value.mode(Mode::Shared);
    }),
    mode(
        "shared-directory",
        "\"0770\"",
        "Directories there.",
        &["shared-directory-protection"],
        |settings, value| {
            settings.modes[Mode::SharedDirectory as usize] = value.mode(Mode::SharedDirectory);
        },
    ),
];

const fn mode(
    name: &'static str,
    sample: &'static str,
    about: &'static str,
    old: &'static [&'static str],
    take: fn(&mut Settings, &mut Value<'_>),
) -> Key {
    Key { table: "modes", name, sample, about, old, take }
}

fn client(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if text.is_empty() || !text.chars().all(good) {
        return Err(format!("neither an address nor a host name: {text}"));
    }
    Ok(text.into())
}

fn protocols(settings: &mut Settings, value: &mut Value<'_>) {
    let read = |text: &str| {
        text.parse::<Wanted>().map_err(|why| {
            let known: Vec<_> = Listening::ALL.iter().map(ToString::to_string).collect();
            let name = text.split(':').next().unwrap_or(text);
            why + &near::suggestion(name, known.iter().map(String::as_str).filter(|known| *known != name))
        })
    };
    settings.protocols = value.list(read);
    let Some(wanted) = &settings.protocols else { return };
    if wanted.is_empty() && value.is_right() {
        value.refuse("nothing to listen for (to serve nobody, do not start `ailurus serve`)".into());
    }
    for (at, one) in wanted.iter().enumerate() {
        if let Some(other) = wanted[..at].iter().find(|other| other.host_port() == one.host_port()) {
            let (other, port) = (other.listening, one.host_port());
            value.refuse(format!("{other} and {} on the same port, {port}", one.listening));
        }
    }
}

fn restrictions(value: &mut Value<'_>) -> Option<Restrictions> {
    let dots = Restrictions { no_dots: true, ..Restrictions::default() };
    let words = [
        ("root", Restrictions { no_root: true, ..dots }),
        ("other-users", Restrictions { no_other_users: true, ..dots }),
        ("dots", dots),
        ("all", Restrictions::all()),
    ];
    let named = value.words(&words)?;
    Some(named.into_iter().fold(Restrictions::default(), Restrictions::and))
}

fn keywords(settings: &mut Settings, value: &mut Value<'_>) {
    const MOST: usize = super::MOST_KEYWORDS;
    let keywords = value.list(keyword);
    if keywords.as_ref().is_some_and(|keywords| keywords.len() > MOST) {
        value.refuse(format!("more than {MOST} keywords"));
    }
    let twice = keywords
        .iter()
        .flatten()
        .enumerate()
        .find(|(at, word)| keywords.iter().flatten().take(*at).any(|w| w == *word));
    if let Some((_, word)) = twice {
        value.refuse(format!("{word} is there twice (letter case does not count)"));
    }
    settings.keywords = keywords;
}
