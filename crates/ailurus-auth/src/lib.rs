//! SASL mechanisms and password checks as a trait
#![forbid(unsafe_code)]
