//! `ipop3d`: one POP3 connection on standard input and output.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    ailurus_daemon::cli::ipop3d_main()
}
