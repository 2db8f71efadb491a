//! What a mailbox file may hold.

/// Reads the input as a traditional mailbox.
pub fn from_lines(_input: &[u8]) {}
/// Reads the input as an mbx mailbox.
pub fn mbx_records(_input: &[u8]) {}
