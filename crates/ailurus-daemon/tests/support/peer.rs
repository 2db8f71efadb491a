//! Other people's programs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Returns where a program is; without it the test is skipped, or fails where peers are required.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from);
    // The system's own first: others may be out of an ordinary user's reach.
    let folders = system.into_iter().chain(std::env::split_paths(&path));
    let found = folders.map(|folder| folder.join(name)).find(|program| program.is_file());
    if found.is_none() {
        missing(name);
    }
    found
}

/// Returns the directory of the packages for Python that `.ci/run` puts beside the build, if a module can be imported with
/// it; it need not be there, for one that the system has. Without the module it is as without a program.
pub fn python_package(python: &Path, module: &str) -> Option<PathBuf> {
    let packages = ailurus_testkit::fuzz::checkout().join("target/peers/python");
    let mut command = Command::new(python);
    command.env("PYTHONPATH", &packages).args(["-c", &format!("import {module}")]).stderr(Stdio::null());
    if command.status().is_ok_and(|status| status.success()) {
        return Some(packages);
    }
    missing(module);
    None
}

fn missing(name: &str) {
    let required = std::env::var_os("AILURUS_REQUIRE_PEERS").is_some_and(|value| value == "1");
    assert!(!required, "{name} is not installed, and AILURUS_REQUIRE_PEERS=1 asks for it");
    super::skip(&format!("{name} is not installed"));
}
