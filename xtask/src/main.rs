//! The project's own chores: `cargo run -p xtask -- check` and friends.
#![forbid(unsafe_code)]

fn main() {
    eprintln!("usage: cargo run -p xtask -- <check>");
    std::process::exit(2);
}
