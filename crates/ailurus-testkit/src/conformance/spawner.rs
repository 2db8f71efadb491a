//! A process that starts processes for the checks.
//!
//! A fork has copies of all descriptors until it calls exec, and with them their flocks. Checks run at the same time in
//! the threads of one process: a mailbox that one had just closed would be locked for a moment if another started a
//! process just then. So all are started by one that has nothing open, and that was started before anything was.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Set in the environment of the process that starts others.
const SPAWNER: &str = "AILURUS_CONFORMANCE_SPAWNER";

/// A program to be run.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) path: PathBuf,
    pub(super) arguments: Vec<String>,
    /// All of its environment.
    pub(super) environment: Vec<(String, String)>,
    /// Where it runs.
    pub(super) directory: PathBuf,
    /// As whom, if not as the user who runs the tests.
    pub(super) ids: Option<(u32, u32)>,
    /// The file that gets what it prints; it must be there.
    pub(super) output: PathBuf,
}

struct Spawner {
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    _child: Child,
}

/// Starts the process that starts others; to be called before anything else is done.
pub(super) fn prepare() {
    spawner();
}

fn spawner() -> &'static Mutex<Spawner> {
    static ONE: OnceLock<Mutex<Spawner>> = OnceLock::new();
    ONE.get_or_init(|| {
        let mut command = this_program();
        let mut child =
            command.env(SPAWNER, "1").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (commands, answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Mutex::new(Spawner { commands, answers: BufReader::new(answers), _child: child })
    })
}

/// Returns the command that runs this test program as a helper of itself.
fn this_program() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(HELPER);
    command
}

const HELPER: [&str; 4] = ["--exact", "acts_for_a_check", "--nocapture", "--test-threads=1"];

impl Program {
    /// Returns this test program, which shall act as a helper.
    pub(super) fn helper(environment: Vec<(String, String)>, directory: &Path) -> Self {
        Self {
            path: std::env::current_exe().unwrap(),
            arguments: HELPER.map(str::to_owned).to_vec(),
            environment,
            directory: directory.into(),
            ids: None,
            output: "/dev/null".into(),
        }
    }

    /// Starts it, and returns its process id.
    pub(super) fn start(&self) -> u32 {
        u32::try_from(self.ask("start")).unwrap()
    }

    /// Runs it to its end, and returns its exit status.
    pub(super) fn run(&self) -> i32 {
        i32::try_from(self.ask("run")).unwrap()
    }

    fn ask(&self, what: &str) -> i64 {
        let mut fields = vec![what.to_owned()];
        let path = |path: &Path| path.to_str().expect("scratch paths are plain").to_owned();
        fields.extend([path(&self.path), path(&self.directory), path(&self.output)]);
        let (uid, gid) = self.ids.unzip();
        fields.extend([uid, gid].map(|id| id.map_or(String::new(), |id| id.to_string())));
        fields.push(self.environment.len().to_string());
        fields.extend(self.environment.iter().map(|(name, value)| format!("{name}={value}")));
        fields.extend(self.arguments.clone());
        assert!(fields.iter().all(|field| !field.contains(['\n', '\0'])), "{fields:?}");
        let mut spawner = spawner().lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(spawner.commands, "{}", fields.join("\0")).unwrap();
        loop {
            let mut line = String::new();
            assert!(spawner.answers.read_line(&mut line).unwrap() > 0, "the spawner is gone");
            if let Some(answer) = line.trim_end().strip_prefix("> ") {
                return answer.parse().unwrap_or_else(|_| panic!("{self:?}: {answer}"));
            }
        }
    }
}

/// Starts processes until nobody asks any more; false if this process is not there for that.
pub(super) fn serve() -> bool {
    if std::env::var_os(SPAWNER).is_none() {
        return false;
    }
    // The harness has not ended its line.
    println!();
    let mut started: Vec<Child> = Vec::new();
    for line in std::io::stdin().lines().map_while(std::io::Result::ok) {
        started.retain_mut(|child| !matches!(child.try_wait(), Ok(Some(_))));
        let fields: Vec<&str> = line.split('\0').collect();
        let answer = command(&fields).and_then(|mut command| {
            let mut child = command.spawn()?;
            if fields[0] == "start" {
                let id = child.id().into();
                started.push(child);
                return Ok(id);
            }
            child.wait().map(|status| status.code().unwrap_or(-1).into())
        });
        let answer: std::io::Result<i64> = answer;
        println!("> {}", answer.map_or_else(|error| error.to_string(), |answer| answer.to_string()));
    }
    true
}

fn command(fields: &[&str]) -> std::io::Result<Command> {
    let [_, path, directory, output, uid, gid, count, rest @ ..] = fields else {
        return Err(std::io::ErrorKind::InvalidInput.into());
    };
    let (environment, arguments) = rest.split_at(count.parse().map_err(std::io::Error::other)?);
    let output = std::fs::File::options().append(true).open(output)?;
    let mut command = Command::new(path);
    command.args(arguments).current_dir(directory).env_clear();
    command.envs(environment.iter().filter_map(|variable| variable.split_once('=')));
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    if let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse()) {
        command.uid(uid).gid(gid);
    }
    Ok(command)
}
