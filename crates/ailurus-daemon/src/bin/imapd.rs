//! `imapd`: one IMAP connection on standard input and output.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    std::process::ExitCode::FAILURE
}
