//! What tests of several crates share: the conformance suite, a disk that fails, mail that looks real.
#![forbid(unsafe_code)]

pub mod conformance;
pub mod corpus;
pub mod faulty;
mod foreign;
pub mod fuzz;
pub mod random;
pub mod transcript;
