//! Other people's programs.

use std::path::PathBuf;

/// Returns where a program is; without it the test is skipped, or fails where peers are required.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from);
    // The system's own first: others may be out of an ordinary user's reach.
    let folders = system.into_iter().chain(std::env::split_paths(&path));
    let found = folders.map(|folder| folder.join(name)).find(|program| program.is_file());
    if found.is_none() {
        let required = std::env::var_os("AILURUS_REQUIRE_PEERS").is_some_and(|value| value == "1");
        assert!(!required, "{name} is not installed, and AILURUS_REQUIRE_PEERS=1 asks for it");
        super::skip(&format!("{name} is not installed"));
    }
    found
}
