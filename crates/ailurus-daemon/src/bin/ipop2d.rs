//! `ipop2d`: one POP2 connection on standard input and output.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    ailurus_daemon::cli::ipop2d_main()
}
