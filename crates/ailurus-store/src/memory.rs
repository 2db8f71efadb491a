//! A driver that keeps its mailboxes in memory, for tests.
