//! The real programs over real sockets and pipes: loopback only, bounded, every process stopped by its id.
#![forbid(unsafe_code)]

mod alone;
#[path = "../support/bottle.rs"]
mod bottle;
mod demo;
mod host;
mod limits;
mod packaging;
#[allow(dead_code, unreachable_pub, reason = "other test programs share it")]
#[path = "../support/peer.rs"]
mod peer;
mod personal;
mod pop3;
mod pop_host;
mod repair;
mod settings;
mod support;
mod ways_in;

fn skip(why: &str) {
    eprintln!("skipped: {why}");
}
