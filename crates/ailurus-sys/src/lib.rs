//! All that is the operating system's: PAM, shadow, setuid, syslog, signals.
//!
//! The one crate of the workspace with `unsafe` in it. Each module wraps one facility in functions that cannot be called
//! wrongly; policy (who may log in, what is logged) is the caller's. Linux first, FreeBSD not excluded.
//!
//! libpam and libcrypt are loaded when they are first used, so that a build needs none of their headers and a program
//! starts on a host that has none of them.
#![allow(unsafe_code)]

pub mod activation;
mod error;
mod library;
pub mod notify;
pub mod pam;
pub mod privileges;
pub mod process;
pub mod shadow;
pub mod signals;
pub mod socket;
pub mod syslog;
pub mod times;
pub mod users;

pub use error::{Error, Result};
pub use users::User;
