//! The real programs over real sockets and pipes: loopback only, bounded, every process stopped by its id.
#![forbid(unsafe_code)]

mod alone;
mod demo;
mod host;
mod personal;
mod support;
