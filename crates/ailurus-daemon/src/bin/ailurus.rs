//! `ailurus`: serve, demo, check, passwd.
#![forbid(unsafe_code)]

fn main() {}
