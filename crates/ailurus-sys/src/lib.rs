//! All that is the operating system's: PAM, shadow, setuid, locks, syslog, signals
#![allow(unsafe_code)]
