//! `ailurus`: serve, demo, check, passwd.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    std::process::ExitCode::FAILURE
}
