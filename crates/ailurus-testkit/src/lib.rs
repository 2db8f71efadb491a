//! Fault injection, fixtures, transcripts and corpora for tests
#![forbid(unsafe_code)]
