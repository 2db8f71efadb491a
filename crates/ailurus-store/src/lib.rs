//! Driver traits, names to locations, session views, subscriptions
#![forbid(unsafe_code)]
