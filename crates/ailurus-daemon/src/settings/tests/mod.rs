//! Both readers, each setting in each, and where mistakes are.

mod users;

use super::*;
use ailurus_store::{Environment, Mode as Way, News, Protections, SharedHomes};
use keys::KEYS;
use std::fs;

/// A host's two files, in a scratch directory.
struct Host {
    scratch: tempfile::TempDir,
    files: Files,
}

impl Host {
    fn new(toml: &str, cf: &str) -> Self {
        let scratch = tempfile::tempdir().expect("a directory");
        let files =
            Files { toml: scratch.path().join("ailurus.toml"), cf: scratch.path().join("c-client.cf") };
        for (file, text) in [(&files.toml, toml), (&files.cf, cf)] {
            if !text.is_empty() {
                fs::write(file, text).expect("ours");
            }
        }
        Self { scratch, files }
    }

    fn settings(&self) -> Settings {
        Settings::read(&self.files)
    }

    /// Returns what is wrong, without the directory.
    fn said(&self) -> Vec<String> {
        let directory = format!("{}/", self.scratch.path().display());
        self.settings()
            .complaints
            .iter()
            .map(|complaint| complaint.to_string().replace(&directory, ""))
            .collect()
    }
}

fn of_toml(text: &str) -> Settings {
    Host::new(text, "").settings()
}

fn of_cf(text: &str) -> Settings {
    Host::new("", text).settings()
}

fn ada() -> Environment {
    let mut environment = Environment::new("ada", "/home/ada".into(), "/var/mail/ada".into(), "mail.example");
    environment.shared.ftp = Some("/home/ftp".into());
    environment
}

fn environment(settings: &Settings) -> Environment {
    let mut environment = ada();
    settings.apply(&mut environment, Confinement::Names).expect("nothing is wrong");
    environment
}

/// What can be compared of an environment.
fn shown(environment: &Environment) -> String {
    let clock = format!("{:?}", environment.clock);
    format!("{environment:?}").replace(&clock, "")
}

/// Each setting in both syntaxes, which mean the same.
const PAIRS: [(&str, &str, &str); 39] = [
    ("server", "host-name = 'mail.example.org'", "set local-host mail.example.org"),
    ("server", "plaintext = 'tls'", "set disable-plaintext 2"),
    (
        "server",
        "plaintext-clients = ['192.0.2.7', 'localhost']",
        "set plaintext-allowed-clients 192.0.2.7, localhost",
    ),
    ("server", "login-attempts = 5", "set allowed-login-attempts 5"),
    ("server", "reverse-dns = false", "set allow-reverse-dns 0"),
    ("server", "user-config = true", "set allow-user-config 1"),
    ("mailboxes", "spool = '/srv/{user}'", "set system-inbox /srv/ada"),
    ("mailboxes", "subdirectory = 'mail'", "set mail-subdirectory mail"),
    ("mailboxes", "restrict = ['root']", "set restrict-mailbox-access root"),
    ("server", "anonymous-home = '/srv/anonymous'", "set anonymous-home-directory /srv/anonymous"),
    ("mailboxes", "closed-box = true", "set chroot-server 1"),
    ("mailboxes", "black-box = '/'", "set black-box-directory /"),
    ("mailboxes", "black-box-default = '/srv/guest'", "set black-box-default-home-directory /srv/guest"),
    ("mailboxes", "create-format = 'mbx'", "set new-mailbox-format mbx"),
    ("mailboxes", "empty-format = 'none'", "set empty-folder-format invalid"),
    ("mailboxes", "keywords = ['Work', 'Home']", "set keywords Work, Home"),
    ("mailboxes", "quote-from = 'header-only'", "set from-widget header-only"),
    ("mailboxes", "hide-dot-files = true", "set hide-dot-files 1"),
    ("mailboxes", "list-depth = 3", "set list-maximum-level 3"),
    ("mailboxes", "lock-timeout = 120", "set dot-lock-file-timeout 2"),
    ("namespaces", "advertise = 'limited'", "set limited-advertise 1"),
    ("namespaces", "advertise = 'world'", "set advertise-the-world 1"),
    ("namespaces", "automatic = false", "set disable-automatic-shared-namespaces 1"),
    ("namespaces", "ftp = '/srv/ftp'", "set ftp-export-directory /srv/ftp"),
    ("namespaces", "public = '/srv/public'", "set public-home-directory /srv/public"),
    ("namespaces", "shared = '/srv/shared'", "set shared-home-directory /srv/shared"),
    ("mh", "path = 'MH'", "set mh-path MH"),
    ("mh", "inbox = true", "set mh-allow-inbox 1"),
    ("news", "active = '/news/active'", "set news-active-file /news/active"),
    ("news", "spool = '/news'", "set news-spool-directory /news"),
    ("news", "state = 'News/state'", "set news-state-file News/state"),
    ("modes", "mailbox = '0640'", "set mailbox-protection 416"),
    ("modes", "directory = '0750'", "set directory-protection 488"),
    ("modes", "lock = '0660'", "set lock-protection 432"),
    ("modes", "ftp = '0600'", "set ftp-protection 384"),
    ("modes", "ftp-directory = '2755'", "set ftp-directory-protection 1517"),
    ("modes", "public = '600'", "set public-protection 384"),
    ("modes", "public-directory = '0700'", "set Public-Directory-Protection 448"),
    ("modes", "shared = '0600'", "SET shared-protection 384"),
];

#[test]
fn each_setting_means_the_same_in_both_files() {
    let changed = |settings: &Settings| {
        let mut environment = ada();
        let result = settings.apply(&mut environment, Confinement::Names);
        // Where they are in one, apart from the environment: the template is another word for the same.
        let mut rest = settings.clone();
        (rest.spool, rest.complaints) = (None, Vec::new());
        (result, shown(&environment), rest)
    };
    let usual = changed(&Settings::default());
    for (table, toml, cf) in PAIRS {
        let (ours, theirs) = (of_toml(&format!("[{table}]\n{toml}\n")), of_cf(&format!("{cf}\n")));
        for settings in [&ours, &theirs] {
            assert_eq!(settings.mistakes().count(), 0, "{toml}: {:?}", settings.complaints);
        }
        assert_eq!(changed(&ours), changed(&theirs), "{toml}");
        assert_ne!(changed(&ours), usual, "{toml}");
    }
    let known = |key: &&keys::Key| {
        PAIRS
            .iter()
            .any(|(table, line, _)| *table == key.table && line.starts_with(&format!("{} =", key.name)))
    };
    let missing: Vec<_> =
        KEYS.iter().filter(|key| !key.old.is_empty() && !known(key)).map(|key| key.name).collect();
    assert_eq!(missing, ["shared-directory"], "as the others");
}

#[test]
fn settings_that_the_original_does_not_have() {
    let of = |line: &str| of_toml(&format!("[server]\n{line}\n"));
    for key in KEYS.iter().filter(|key| key.old.is_empty()) {
        let of = |value: &str| of_toml(&format!("[{}]\n{} = {value}\n", key.table, key.name));
        assert_eq!(of(key.sample).mistakes().count(), 0, "{}", key.name);
        assert!(of("1.5").refusal().is_some(), "{}", key.name);
    }
    let address = |text: &str| text.parse::<IpAddr>().expect("an address");
    assert!(Settings::default().trusts(address("127.0.0.1")) && Settings::default().trusts(address("::1")));
    assert!(!Settings::default().trusts(address("127.0.0.2")));
    let settings = of("trusted-clients = ['::ffff:192.0.2.1']");
    assert!(settings.trusts(address("192.0.2.1")) && !settings.trusts(address("127.0.0.1")));
    assert!(of("trusted-clients = ['webmail']").refusal().is_some());
    let listened = |settings: &Settings| -> Vec<_> {
        let shown = |wanted: &Wanted| (wanted.listening.to_string(), wanted.port);
        settings.protocols().iter().map(shown).collect()
    };
    let usual = ["imap", "imaps", "pop3", "pop3s"].map(|name| (name.to_owned(), None));
    assert_eq!(listened(&Settings::default()), usual);
    let settings = of("protocols = ['imaps', 'pop2:2109']");
    assert_eq!(listened(&settings), [("imaps".to_owned(), None), ("pop2".to_owned(), Some(2109))]);
    let wrong = [
        ("'pop4'", "neither imap, imaps, pop3, pop3s nor pop2: pop4 (did you mean `pop3`?)"),
        ("'imap:0'", "not a port from 1 to 65535: 0"),
        ("", "nothing to listen for"),
        ("'imap', 'pop3:143'", "imap and pop3 on the same port, 143"),
        ("'imap', 'imaps', 'imap'", "imap and imap on the same port, 143"),
    ];
    for (list, why) in wrong {
        let settings = of(&format!("protocols = [{list}]"));
        assert!(settings.refusal().is_some(), "{list}");
        assert!(settings.complaints[0].to_string().contains(why), "{:?}", settings.complaints);
    }
    assert_eq!(of("protocols = ['imap', 'imap:2143']").complaints, []);
}

#[test]
fn mbox_is_inbox_unless_it_is_switched_off() {
    let of = |text: &str| {
        let (settings, mut environment) = (of_toml(text), ada());
        assert_eq!(settings.apply(&mut environment, Confinement::Names), Ok(()));
        (environment.mbox_as_inbox, settings.mbox_inbox(Path::new("/home/ada")))
    };
    let at = |path: &str| (true, Some(path.into()));
    assert_eq!(of(""), at("/home/ada/mbox"));
    assert_eq!(of("[mailboxes]\nmbox-as-inbox = true\n"), at("/home/ada/mbox"));
    assert_eq!(of("[mailboxes]\nsubdirectory = 'mail'\n"), at("/home/ada/mail/mbox"));
    assert_eq!(of("[mailboxes]\nmbox-as-inbox = false\n"), (false, None));
}

#[test]
fn lines_about_mail_have_a_facility() {
    let of = |word: &str| of_toml(&format!("[server]\nlog-facility = '{word}'\n"));
    assert_eq!(Settings::default().log_facility, None);
    for facility in Facility::FOR_MAIL {
        assert_eq!(of(facility.name()).log_facility, Some(facility));
    }
    // Failed logins alone go there, and where all can read.
    for wrong in ["auth", "kern", "local8", "LOCAL0", ""] {
        assert!(of(wrong).refusal().is_some(), "{wrong}");
    }
}

#[test]
fn who_and_what_has_moved_is_read_with_its_mistakes() {
    let text = "[referrals.users]\nada = 'imap://server2/'\n[referrals]\nmailboxes = { 'old mail' = 'IMAPS://server3:993/x' }\n";
    let settings = of_toml(text);
    assert_eq!(settings.complaints, []);
    assert_eq!(settings.referrals.user(b"ada").as_deref(), Some("imap://ada;AUTH=*@server2/"));
    assert_eq!(
        settings.referrals.mailbox(b"ada", b"old mail/y").as_deref(),
        Some("imaps://ada;AUTH=*@server3:993/x/y")
    );
    let host = Host::new("[referrals.users]\nada = 'http://server2/'\nben = 7\n\"\" = 'imap://a/'\n", "");
    assert_eq!(
        host.said(),
        [
            "ailurus.toml:2:7: users: a URL that starts with imap:// or imaps:// is wanted, not: http://server2/",
            "ailurus.toml:3:7: users: a string is wanted, not a number",
            "ailurus.toml:4:1: users: an empty name",
        ]
    );
    assert!(host.settings().refusal().is_some());
}

#[test]
fn settings_change_the_surroundings() {
    let settings = of_toml(
        "[server]\nplaintext = 'never'\n[mailboxes]\nspool = '{home}/INBOX'\nsubdirectory = 'mail/'\nrestrict = ['other-users']\n\
         create-format = 'mmdf'\nempty-format = 'mbx'\nkeywords = ['Work']\nlist-depth = 2\nlock-timeout = 60\n\
         [namespaces]\nautomatic = false\npublic = '/srv/public'\n[modes]\nshared-directory = '2770'\n",
    );
    assert_eq!(settings.complaints, []);
    assert_eq!(settings.plaintext_for(None), Some(Plaintext::Never));
    let environment = environment(&settings);
    assert_eq!(environment.spool, Path::new("/home/ada/INBOX"));
    assert_eq!(environment.mailbox_dir, Path::new("/home/ada/mail"));
    assert_eq!(environment.mail_subdirectory.as_deref(), Some(Path::new("mail")), "of other users too");
    let expected = Restrictions { no_root: false, no_other_users: true, no_dots: true };
    assert_eq!(environment.restrictions, expected);
    assert_eq!((environment.create_format, environment.empty_format), ("mmdf", Some("mbx")));
    assert_eq!((environment.list_depth, environment.dot_lock_timeout), (2, 60));
    assert_eq!(environment.default_keywords.len(), 1);
    let shared = SharedHomes { public: Some("/srv/public".into()), ..SharedHomes::default() };
    assert_eq!(environment.shared, shared);
    assert_eq!(environment.protections, Protections { shared: (0o660, 0o2770), ..Protections::default() });
    let all = of_toml("[mailboxes]\nrestrict = ['all']\n");
    assert_eq!(self::environment(&all).restrictions, Restrictions::all());
}

#[test]
fn without_files_everything_is_as_usual() {
    let settings = Host::new("", "").settings();
    assert_eq!(settings, Settings::default());
    assert_eq!(shown(&environment(&settings)), shown(&ada()));
}

#[test]
fn the_example_shows_every_key_and_is_understood() {
    assert_eq!(of_toml(&example()), Settings::default(), "as it is, it says nothing");
    let uncommented = |text: &str| {
        let line = |line: &str| match line.strip_prefix('#') {
            Some(setting) if !setting.starts_with(' ') => format!("{setting}\n"),
            _ => format!("{line}\n"),
        };
        text.lines().map(line).collect::<String>()
    };
    let text = uncommented(&example());
    let settings = of_toml(&text);
    let notes = settings.complaints.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(settings.mistakes().count(), 0, "{notes:#?}");
    for key in KEYS {
        assert!(text.contains(&format!("\n{} = {}\n", key.name, key.sample)), "{}", key.name);
    }
    assert_eq!(settings.modes, environment_modes());
}

/// The samples of the modes are the defaults.
fn environment_modes() -> [Option<u32>; 9] {
    let usual = Protections::default();
    let pairs = [usual.ftp, usual.public, usual.shared];
    let all = [usual.mailbox, usual.directory, usual.lock]
        .into_iter()
        .chain(pairs.into_iter().flat_map(|(a, b)| [a, b]));
    let mut modes = all.map(Some);
    std::array::from_fn(|_| modes.next().flatten())
}

#[test]
fn all_mistakes_of_both_files_are_found_with_their_places() {
    let toml = "\
[server]
plaintext = \"tsl\"
login-attempts = \"3\"
  restict = []
reverse-dns = 1
disable-plaintext = 2

[mailboxes]
restrict = [\"root\", \"otherusers\", 3]
spool = \"/var/mail/inbox\"
create-format = \"mbz\"
subdirectory = \"../mail\"
list-depth = 1000

[mode]
mailbox = \"0600\"
[modes]
mailbox = 600
directory = \"0070\"
# ü
shared = 'ü, broken
[namespaces]
ftp = \"srv\"
";
    let cf = "I accept the risk\nset chroot-server perhaps\nset mailbox-protection 640\nset frobnicate 3\n\
              set restrict-mailbox-acess root\n";
    let host = Host::new(toml, cf);
    let said = host.said();
    let starts = [
        "c-client.cf:2:19: chroot-server: not a decimal number: perhaps",
        "c-client.cf:3:24: mailbox-protection: the mode 1200 keeps the owner out, who needs 0600 at least (modes are decimal \
         here: octal 640 is 416)",
        "c-client.cf:4:5: frobnicate: not known or not supported",
        "c-client.cf:5:5: restrict-mailbox-acess: not known or not supported (did you mean `restrict-mailbox-access`?)",
        "ailurus.toml:2:13: plaintext: not one of \"allowed\", \"tls\", \"never\": tsl (did you mean `tls`?)",
        "ailurus.toml:3:18: login-attempts: a number is wanted, not a string",
        "ailurus.toml:4:3: there is no key `restict` in [server] (did you mean `restrict` in [mailboxes]?)",
        "ailurus.toml:5:15: reverse-dns: true or false is wanted, not a number",
        "ailurus.toml:6:1: there is no key `disable-plaintext` here: it is plaintext in the table [server]",
        "ailurus.toml:9:21: restrict: not one of \"root\", \"other-users\", \"dots\", \"all\": otherusers (did you mean `other-users`?)",
        "ailurus.toml:9:35: restrict: a string is wanted, not a number",
        "ailurus.toml:10:9: spool: the same file for all users, without `{user}` or `{home}`: /var/mail/inbox",
        "ailurus.toml:11:17: create-format: unknown mailbox format: mbz (did you mean `mbx`?)",
        "ailurus.toml:12:16: subdirectory: not a path below the home directory: ../mail",
        "ailurus.toml:13:14: list-depth: not a number from 0 to 255",
        "ailurus.toml:15:2: there is no table or key `mode` (did you mean `modes`?)",
        "ailurus.toml:18:11: mailbox: a mode is octal and in quotes, such as \"0600\"",
        "ailurus.toml:19:13: directory: the mode 0070 keeps the owner out, who needs 0700 at least",
        "ailurus.toml:21:20: invalid literal string",
        "ailurus.toml:23:7: ftp: not a path that starts with `/`: srv",
    ];
    let place = |line: &str| line.splitn(4, ':').take(3).map(str::to_owned).collect::<Vec<_>>();
    let places: Vec<_> = said.iter().map(|line| place(line)).collect();
    for start in starts {
        assert!(said.iter().any(|line| line.starts_with(start)), "{start}\nis not in {said:#?}");
    }
    let syntax = said.iter().filter(|line| starts.iter().all(|start| !line.starts_with(start))).count();
    assert!(syntax <= 2, "what the parser adds to a broken line: {said:#?}");
    assert!(
        places.windows(2).all(|pair| pair[0][0] != pair[1][0] || line_of(&pair[0]) <= line_of(&pair[1])),
        "{said:#?}"
    );
}

fn line_of(place: &[String]) -> usize {
    place[1].parse().expect("a line")
}

#[test]
fn with_a_mistake_in_our_file_nobody_is_served() {
    let broken = [
        "nonsense",
        "[server]\nplaintex = 'tls'\n",
        "[server]\nplaintext = 'tls'\nplaintext = 'never'\n",
        "plaintext = 'tls'\n",
        "server = 3\n",
        "[[server]]\n",
        "[server]\nhost-name = 'a/b'\n",
        "[server]\nplaintext-clients = ['a b']\n",
        "[mailboxes]\nclosed-box = true\nblack-box = '/srv'\n",
        "[mailboxes]\nkeywords = ['Work', 'Home', 'work']\n",
        "[mh]\npath = '../ben'\n",
        "[news]\nspool = 'news'\n",
        "[news]\nstate = '/srv/state'\n",
        "[mailboxes]\nkeywords = ['two words']\n",
    ];
    for text in broken {
        let settings = of_toml(text);
        assert!(settings.refusal().expect(text).starts_with("nobody is served until /"), "{text}");
        assert!(settings.apply(&mut ada(), Confinement::Names).is_err(), "{text}");
    }
    let host = Host::new("", "");
    fs::write(&host.files.toml, b"[server]\n# \xff\n").expect("ours");
    assert_eq!(host.said(), ["ailurus.toml:2:3: not UTF-8"]);
    fs::remove_file(&host.files.toml).expect("ours");
    fs::create_dir(&host.files.toml).expect("ours");
    assert_eq!(host.said(), ["ailurus.toml: cannot be read: not a file"]);
    assert!(host.settings().refusal().is_some());
    let keys: String = (0..40).map(|number| format!("'k{number}', ")).collect();
    assert!(of_toml(&format!("[mailboxes]\nkeywords = [{keys}]\n")).refusal().is_some());
}

#[test]
fn our_file_counts_and_what_both_say_is_told() {
    let host = Host::new(
        "[server]\nplaintext = 'allowed'\n[mailboxes]\nrestrict = []\n",
        "set disable-plaintext 1\nset restrict-mailbox-access all\nset hide-dot-files 1\n",
    );
    let settings = host.settings();
    assert_eq!(settings.plaintext, Some(Plaintext::Allowed));
    let environment = environment(&settings);
    assert_eq!(environment.restrictions, Restrictions::default());
    assert!(environment.hide_dot_files);
    let said = host.said();
    assert_eq!(said.len(), 2);
    assert_eq!(
        said[0],
        "ailurus.toml:2:1: plaintext: c-client.cf:1:5 sets disable-plaintext too; what is here counts"
    );
    assert_eq!(
        said[1],
        "ailurus.toml:4:1: restrict: c-client.cf:2:5 sets restrict-mailbox-access too; what is here counts"
    );
    assert_eq!((settings.mistakes().count(), settings.refusal()), (0, None), "nothing for the log");
}

#[test]
fn a_link_to_nowhere_is_no_missing_file() {
    let host = Host::new("", "");
    for file in [&host.files.toml, &host.files.cf] {
        fs::remove_file(file).ok();
        std::os::unix::fs::symlink("/nonexistent/settings", file).expect("ours");
    }
    let settings = host.settings();
    assert!(settings.refusal().is_some(), "{:?}", settings.complaints);
    assert_eq!(
        (settings.plaintext, settings.restrictions),
        (Some(Plaintext::Never), Some(Restrictions::all()))
    );
}

#[test]
fn lines_of_the_originals_file_that_protect_add_up() {
    let two = of_cf("set restrict-mailbox-access Root\nset restrict-mailbox-access otherusers\n");
    assert_eq!(two.complaints, []);
    assert_eq!(two.restrictions, Some(Restrictions::all()));
    let mistaken = of_cf("set restrict-mailbox-access rooot\nset restrict-mailbox-access otherusers\n");
    assert_eq!(mistaken.restrictions, Some(Restrictions::all()), "no later line takes that back");
    let clients = of_cf("set plaintext-allowed-clients 192.0.2.1\nset plaintext-allowed-clients 192.0.2.2\n");
    assert_eq!(clients.plaintext_clients, ["192.0.2.1", "192.0.2.2"]);
}

#[test]
fn what_cannot_be_understood_in_the_originals_file_is_strict() {
    let settings = |line: &str| {
        let settings = of_cf(&format!("{line}\n"));
        assert_eq!(settings.mistakes().count(), 1, "{line}: {:?}", settings.complaints);
        settings
    };
    for value in ["no", "", "2x", "-1", "99999999999"] {
        let never = settings(&format!("set disable-plaintext {value}"));
        assert_eq!(never.plaintext, Some(Plaintext::Never), "{value}");
    }
    assert_eq!(settings("set disable-plaintext").plaintext, Some(Plaintext::Never));
    assert_eq!(settings("set allowed-login-attempts many").login_attempts, Some(1));
    assert_eq!(settings("set chroot-server yes").closed_box, Some(true));
    assert_eq!(settings("set allow-user-config yes").user_config, Some(false));
    assert_eq!(settings("set restrict-mailbox-access rooot").restrictions, Some(Restrictions::all()));
    assert_eq!(settings("set restrict-mailbox-access").restrictions, Some(Restrictions::all()));
    assert!(settings("set black-box-directory srv").refusal().is_some());
    assert_eq!(environment(&settings("set mailbox-protection 0x1a4")).protections.mailbox, 0o600);
    assert_eq!(environment(&settings("set public-directory-protection 777")).protections.public.1, 0o700);
    assert_eq!(environment(&settings("set lock-protection 5")).protections.lock, 0o666, "no secret");
    assert_eq!(environment(&settings("set ftp-export-directory srv")).shared.ftp, None, "not the usual one");
    assert_eq!(
        environment(&settings("set disable-automatic-shared-namespaces x")).shared,
        SharedHomes::default()
    );
    assert_eq!(environment(&settings("set dot-lock-file-timeout 0")).dot_lock_timeout, 300);
    for line in [
        "set system-inbox INBOX",
        "set mail-subdirectory ..",
        "set local-host a/b",
        "set new-mailbox-format mbz",
    ] {
        assert_eq!(shown(&environment(&settings(line))), shown(&ada()), "{line}");
    }
    let unreadable = Host::new("", "");
    fs::create_dir(&unreadable.files.cf).expect("ours");
    let strict = unreadable.settings();
    assert_eq!((strict.plaintext, strict.restrictions), (Some(Plaintext::Never), Some(Restrictions::all())));
    assert_eq!(unreadable.said(), ["c-client.cf: cannot be read: not a file"]);
}

#[test]
fn the_originals_file_is_read_as_it_is_written() {
    let settings = of_cf(
        "I accept the risk\n\
         # set disable-plaintext 1\n\
         set  disable-plaintext 1\n\
         set keywords Work, Home work\n\
         set keywords Late\n\
         set lookahead 99\n\
         set allow-user-config 0\n\
         set disable-lock-warning nil\n\
         set mail-subdirectory /mail\n\
         set new-folder-format system-standard\n\
         set empty-folder-format mbox\n\
         set black-box-directory /\n\
         set black-box-directory /srv\n",
    );
    let said: Vec<_> =
        settings.complaints.iter().filter_map(|complaint| complaint.at).map(|at| at.line).collect();
    assert_eq!(said, [3], "two spaces: {:?}", settings.complaints);
    assert_eq!(settings.keywords.as_ref().map(Vec::len), Some(2), "the first line counts");
    assert_eq!(settings.black_box.as_deref(), Some(Path::new("/")), "here too");
    assert_eq!(settings.subdirectory.as_deref(), Some(Path::new("mail")));
    assert_eq!((settings.create_format, settings.empty_format), (Some("unix"), Some(Some("unix"))));
}

#[test]
fn mh_and_news_are_where_the_host_says() {
    let settings = of_cf(
        "set mh-path MH\nset mh-allow-inbox 1\nset news-active-file /news/active\nset news-spool-directory /news\n\
         set news-state-file .read\n",
    );
    assert_eq!(settings.complaints, []);
    let environment = environment(&settings);
    assert_eq!(environment.mh_path.as_deref(), Some(Path::new("/home/ada/MH")));
    assert!(environment.mh_allow_inbox);
    let state = Some("/home/ada/.read".into());
    assert_eq!(environment.news, News { active: "/news/active".into(), spool: "/news".into(), state });
    let absolute = self::environment(&of_cf("set mh-path /srv/mh\n"));
    assert_eq!(absolute.mh_path.as_deref(), Some(Path::new("/srv/mh")));
    for wrong in
        ["set mh-path ../ben", "set news-active-file active", "set news-state-file", "set mh-allow-inbox x"]
    {
        let settings = of_cf(&format!("{wrong}\n"));
        assert_eq!(settings.mistakes().count(), 1, "{wrong}");
        assert_eq!(shown(&self::environment(&settings)), shown(&ada()), "{wrong}");
    }
}

#[test]
fn lines_that_the_original_would_not_read_are_obeyed_and_told() {
    let long = format!("set plaintext-allowed-clients {}\nset hide-dot-files 1", "192.0.2.7,".repeat(200));
    let host = Host::new("", &long);
    assert_eq!(
        host.said(),
        [
            "c-client.cf:1:5: plaintext-allowed-clients: a line so long ends the file for the original",
            "c-client.cf:2:5: hide-dot-files: the line has no end, and the original does not obey it",
        ]
    );
    let settings = host.settings();
    assert_eq!((settings.plaintext_clients.len(), settings.hide_dot_files), (200, Some(true)));
    let host = Host::new("", "");
    fs::write(
        &host.files.cf,
        b"# \xe9\nset public-home-directory /srv/caf\xe9\nset restrict-mailbox-access \xff\n",
    )
    .expect("ours");
    let places: Vec<_> = host.said();
    assert_eq!(places[0], "c-client.cf:2:27: public-home-directory: not UTF-8");
    assert_eq!((places.len(), host.settings().restrictions), (2, Some(Restrictions::all())));
    assert_eq!(environment(&host.settings()).shared.public, None, "no other directory");
    let of_dos = Host::new("", "set mail-subdirectory mail\r\n");
    assert!(of_dos.said()[0].contains("carriage return"), "{:?}", of_dos.said());
}

#[test]
fn listed_clients_may_send_passwords() {
    let settings = of_toml(
        "[server]\nplaintext = 'never'\nplaintext-clients = ['192.0.2.7', 'localhost', '2001:db8::1']\n",
    );
    let client = |text: &str| settings.plaintext_for(Some(text.parse().expect("an address")));
    assert_eq!(client("192.0.2.7"), Some(Plaintext::Allowed));
    assert_eq!(client("127.0.0.1"), Some(Plaintext::Allowed));
    assert_eq!(client("2001:db8::1"), Some(Plaintext::Allowed));
    assert_eq!(client("192.0.2.8"), Some(Plaintext::Never));
}

#[test]
fn a_black_box_has_a_directory_for_each_user_or_for_all_others() {
    let scratch = tempfile::tempdir().expect("a directory");
    let path = |name: &str| scratch.path().join(name);
    let settings = of_toml(&format!(
        "[mailboxes]\nblack-box = '{}'\nblack-box-default = '{}'\nsubdirectory = 'mail'\n",
        scratch.path().display(),
        path("guest").display()
    ));
    let mut environment = ada();
    assert!(settings.apply(&mut environment, Confinement::Names).is_err());
    fs::create_dir(path("guest")).expect("ours");
    let mut guest = ada();
    settings.apply(&mut guest, Confinement::Names).expect("the default");
    assert_eq!(guest.home, path("guest"));
    fs::create_dir(path("ada")).expect("ours");
    settings.apply(&mut environment, Confinement::Names).expect("there now");
    assert_eq!(environment.home, path("ada"));
    assert_eq!(environment.mode, Way::BlackBox(scratch.path().into()));
    assert_eq!(environment.mailbox_dir, path("ada/mail"));
    assert_eq!(environment.spool, path("ada/mail/INBOX"), "nothing outside of the box");
}

#[test]
fn a_closed_box_is_the_home_for_whoever_asks() {
    let settings = of_toml(
        "[mailboxes]\nclosed-box = true\nsubdirectory = 'mail'\nspool = '/srv/{user}'\n[namespaces]\nshared = '/srv'\n",
    );
    let mut environment = ada();
    for confinement in [Confinement::Chroot, Confinement::Names] {
        let refused = settings.apply(&mut environment, confinement).expect_err("there is no home");
        assert!(refused.contains("/home/ada"), "{refused}");
        environment.home = "/".into();
        settings.apply(&mut environment, confinement).expect_err("no confinement at all");
        environment.home = "/home/ada".into();
    }
    let scratch = tempfile::tempdir().expect("a directory");
    let home = scratch.path();
    for (confinement, root) in [(Confinement::Chroot, Path::new("/")), (Confinement::Names, home)] {
        let mut environment = ada();
        environment.home = home.into();
        settings.apply(&mut environment, confinement).expect("a directory");
        assert_eq!(environment.mode, Way::ClosedBox);
        assert_eq!((environment.home.as_path(), environment.lock_dir.as_path()), (root, root));
        assert_eq!(environment.mailbox_dir, root.join("mail"));
        assert_eq!(environment.spool, root.join("mail/INBOX"));
        assert_eq!(environment.shared, SharedHomes::default());
        let restricted = environment.restrictions == Restrictions::all();
        assert_eq!(restricted, confinement == Confinement::Names, "inside there is nothing else to name");
    }
}

#[test]
fn a_contradiction_is_told_of_the_file_that_has_it() {
    let both = "set chroot-server 1\nset black-box-directory /srv\n";
    let (closed, open) = ("[mailboxes]\nclosed-box = true\n", "[mailboxes]\nclosed-box = false\n");
    let said = |toml: &str, cf: &str| Host::new(toml, cf).said().last().cloned().unwrap_or_default();
    assert!(said("[server]\n", both).starts_with("c-client.cf: a closed box (chroot) and "));
    assert!(said(closed, "set black-box-directory /srv\n").starts_with("ailurus.toml: a closed box"));
    assert_eq!(Host::new(open, both).settings().refusal(), None, "ours counts");
    assert!(said("[mailboxes]\nblack-box-default = '/srv'\n", "").contains("but no black box"));
}

/// Any octets: no panic, and complaints that name a place within the text.
fn any_octets(input: &[u8]) {
    let mut settings = Settings::default();
    let said = cf::read_host(&mut settings, Path::new("/c-client.cf"), input);
    toml::read(&mut settings, Path::new("/ailurus.toml"), input, &said);
    let lines = input.iter().filter(|&&octet| octet == b'\n').count() + 1;
    for complaint in &settings.complaints {
        assert!(
            complaint.at.is_some_and(|at| (1..=lines).contains(&at.line) && at.column >= 1),
            "{complaint}"
        );
        assert!(!complaint.to_string().chars().any(char::is_control), "{complaint}");
    }
    // Whatever it says: either nobody is served, or the rules hold.
    let mut environment = ada();
    if settings.apply(&mut environment, Confinement::Names).is_ok() {
        assert_eq!(settings.refusal(), None);
        assert!(environment.spool.is_absolute() && environment.mailbox_dir.starts_with(&environment.home));
        assert!(environment.dot_lock_timeout > 0 && environment.protections.mailbox & 0o600 == 0o600);
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let uncommented = example().replace("\n#", "\n").replace("\n ", "\n# ");
    let cf: String = PAIRS.iter().map(|(_, _, line)| format!("{line}\n")).collect();
    let toml: String = PAIRS.iter().map(|(table, line, _)| format!("{table}.{line}\n")).collect();
    [example(), uncommented, cf, toml].map(String::into_bytes).into()
}

#[test]
fn any_octets_are_taken() {
    use ailurus_testkit::fuzz::{Mutator, Target};
    let target = Target { name: "settings", run: any_octets, dictionary: "settings.dict", seeds };
    let mut mutator = Mutator::new(&target, 1);
    for number in 0..mutator.seeds() {
        any_octets(mutator.seed(number));
    }
    for _ in 0..3000 {
        any_octets(&mutator.input());
    }
}
