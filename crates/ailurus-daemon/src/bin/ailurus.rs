//! `ailurus`: serve, demo, check, passwd.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    ailurus_daemon::cli::ailurus_main()
}
