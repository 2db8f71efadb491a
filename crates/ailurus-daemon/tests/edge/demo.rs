//! `ailurus demo`, `check` and `passwd`, as people run them.

use crate::support::{Program, is_root, ordinary, program, scratch};
use rustix::process::Signal;
use std::fs;
use std::io::{BufRead, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Output, Stdio};

fn field<'t>(text: &'t str, before: &str) -> &'t str {
    let (_, after) = text.split_once(before).unwrap_or_else(|| panic!("no {before:?} in\n{text}"));
    after.split([' ', '\n']).next().unwrap_or("")
}

#[test]
fn the_demonstration_shows_the_main_job_and_cleans_up() {
    // As whoever runs the tests: root's demonstration must not need root's rights.
    let mut command = Command::new(program("ailurus"));
    command.args(["demo", "--once"]).env("AILURUS_LOG", "stderr").stdout(Stdio::piped());
    let mut demo = Program::start(&mut command);
    let mut text = String::new();
    demo.stdout().read_to_string(&mut text).expect("text");
    assert_eq!(demo.wait().code(), Some(0), "{text}\n{}", demo.log());
    for sign in [
        "* 4 EXISTS",
        "* SEARCH 2",
        "The moth is out of relay 70",
        "mill.png",
        "curl ",
        "openssl s_client",
        "Each of them holds",
    ] {
        assert!(text.contains(sign), "{sign:?} is missing:\n{text}");
    }
    let home = field(&text, "sample mail is at ").trim_end_matches("/home");
    assert!(!std::path::Path::new(home).exists(), "{home} is left behind");
}

#[test]
fn the_demonstration_stays_up_until_interrupted() {
    let home = scratch();
    let mut demo = Program::start(ordinary("ailurus", home.path()).arg("demo").stdout(Stdio::piped()));
    let mut lines = demo.stdout().lines().map_while(Result::ok);
    let mut text = String::new();
    for line in lines.by_ref() {
        text.push_str(&line);
        text.push('\n');
        if line.starts_with("It stays up") {
            break;
        }
    }
    let port: u16 = field(&text, "IMAP (STARTTLS possible)  port ").parse().expect("a port");
    let password = field(&text, "user demo, password ");
    let mut talk = crate::support::connect(([127, 0, 0, 1], port).into());
    talk.expect("* OK");
    talk.command(&format!("LOGIN demo {password}"), "OK");
    talk.command("SELECT archive", "OK [READ-WRITE]");
    demo.signal(Signal::INT);
    assert_eq!(demo.wait().code(), Some(0), "{}", demo.log());
    let scratch_home = field(&text, "sample mail is at ").trim_end_matches("/home");
    assert!(!std::path::Path::new(scratch_home).exists(), "{scratch_home} is left behind");
}

fn run(command: &mut Command, input: &str) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).ok();
    child.wait_with_output().expect("ended")
}

#[test]
fn check_says_what_it_sees() {
    let home = scratch();
    let output = run(ordinary("ailurus", home.path()).arg("check"), "");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("/tmp has mode 1777"), "{text}");
    assert!(text.contains("`ailurus serve` makes a password"), "{text}");
    let problems = text.lines().filter(|line| line.starts_with("PROBLEM")).count();
    assert_eq!(output.status.code(), Some(i32::from(problems > 0)), "{text}");
}

#[test]
fn passwd_keeps_a_private_file() {
    let home = scratch();
    let file = home.path().join("secrets");
    let passwd = |arguments: &[&str], input: &str| {
        let mut command = ordinary("ailurus", home.path());
        command.arg("passwd").args(arguments).arg("--file").arg(&file);
        run(&mut command, input)
    };
    let done = passwd(&["ada"], "first\n");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(passwd(&["ben"], "second\r\nignored").status.success());
    assert!(passwd(&["ada"], " third").status.success());
    assert_eq!(fs::read_to_string(&file).expect("there"), "ada\t third\nben\tsecond\n");
    assert_eq!(fs::metadata(&file).expect("there").mode() & 0o777, 0o600);
    assert_eq!(passwd(&["--list"], "").stdout, b"ada\nben\n");
    for (user, secret) in [("a*b", "x"), ("#a", "x"), ("", "x"), ("eve", ""), ("eve", "\n")] {
        let refused = passwd(&[user], secret);
        assert_eq!(refused.status.code(), Some(1), "{user} {secret:?}");
        assert!(!refused.stderr.is_empty());
    }
    assert!(passwd(&["--remove", "ada"], "").status.success());
    assert_eq!(passwd(&["--remove", "ada"], "").status.code(), Some(1));
    assert_eq!(fs::read_to_string(&file).expect("there"), "ben\tsecond\n");
    let left = fs::read_dir(home.path()).expect("ours").count();
    assert_eq!(left, 1, "nothing beside the file");
}

/// One who thinks about a password while others change theirs, and many at once.
#[test]
fn passwd_keeps_what_others_change_meanwhile() {
    let home = scratch();
    let file = home.path().join("secrets");
    let start = |user: &str| {
        let mut command = ordinary("ailurus", home.path());
        command.args(["passwd", user, "--file"]).arg(&file).stdin(std::process::Stdio::piped());
        let mut child = command.stderr(std::process::Stdio::null()).spawn().expect("started");
        let input = child.stdin.take().expect("piped");
        (child, input)
    };
    let (mut slow, input) = start("ada");
    std::thread::sleep(std::time::Duration::from_millis(300));
    let names: Vec<_> = (0..8).map(|number| format!("user{number}")).collect();
    let others: Vec<_> = names.iter().map(|name| start(name)).collect();
    let give = |(child, mut input): (std::process::Child, std::process::ChildStdin)| {
        std::io::Write::write_all(&mut input, b"secret").expect("written");
        child
    };
    let others: Vec<_> = others.into_iter().map(give).collect();
    for mut child in others {
        assert!(child.wait().expect("ended").success());
    }
    std::io::Write::write_all(&mut { input }, b"adapw").expect("written");
    assert!(slow.wait().expect("ended").success());
    let text = fs::read_to_string(&file).expect("there");
    assert!(text.contains("ada\tadapw\n"), "{text}");
    assert!(names.iter().all(|name| text.contains(&format!("{name}\tsecret\n"))), "{text}");
}

#[test]
fn help_is_there_for_both_programs() {
    for name in ["ailurus", "imapd"] {
        let output = run(Command::new(program(name)).arg("--help"), "");
        assert!(output.status.success());
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("Usage: "), "{text}");
    }
    if is_root() {
        eprintln!("note: run by root");
    }
}

#[test]
fn passwd_of_ones_own_server_is_for_oneself() {
    let home = scratch();
    let passwd = |arguments: &[&str]| {
        let done = run(ordinary("ailurus", home.path()).arg("passwd").args(arguments), "secret\n");
        (done.status.success(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    let (done, why) = passwd(&["somebody-else"]);
    assert!(!done && why.contains("not somebody-else"), "{why}");
    assert_eq!(fs::read_dir(home.path()).expect("ours").count(), 0, "nothing is made");
    let nowhere = home.path().join("no/secrets");
    let (done, why) = passwd(&["ada", "--file", &nowhere.to_string_lossy()]);
    assert!(!done && why.contains("there is no directory for"), "{why}");
    assert_eq!(passwd(&[]), (true, String::new()));
}
