//! Ground types of mail stores: UIDs, sets, flags, keywords, names, dates, search programs
#![forbid(unsafe_code)]
