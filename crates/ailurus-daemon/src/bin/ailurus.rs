//! `ailurus`: serve, demo, check, verify, repair, passwd.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    ailurus_daemon::cli::ailurus_main()
}
