//! `imapd`: one IMAP connection on standard input and output.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    ailurus_daemon::cli::imapd_main()
}
