//! Charsets, case mapping and decomposition, modified UTF-7
#![forbid(unsafe_code)]
