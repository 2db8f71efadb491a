//! The real programs over real sockets and pipes: loopback only, bounded, every process stopped by its id.
#![forbid(unsafe_code)]

mod alone;
#[path = "../support/bottle.rs"]
mod bottle;
mod demo;
mod host;
mod packaging;
mod personal;
mod repair;
mod settings;
mod support;
