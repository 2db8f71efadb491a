//! The bits of system flags on disk, the same in all formats that have such bits (spec/storage-common.md §1).

use ailurus_types::SystemFlags;

const BITS: [(SystemFlags, u16); 5] = [
    (SystemFlags::SEEN, 0x01),
    (SystemFlags::DELETED, 0x02),
    (SystemFlags::FLAGGED, 0x04),
    (SystemFlags::ANSWERED, 0x08),
    (SystemFlags::DRAFT, 0x20),
];

/// Returns the bits of these flags.
pub(crate) fn bits_of(flags: SystemFlags) -> u16 {
    BITS.iter().filter(|(flag, _)| flags.contains(*flag)).fold(0, |bits, (_, bit)| bits | bit)
}

/// Returns the flags that the bits stand for; others are left alone.
pub(crate) fn flags_of(bits: u16) -> SystemFlags {
    let set = BITS.iter().filter(|(_, bit)| bits & bit != 0);
    set.fold(SystemFlags::NONE, |flags, (flag, _)| flags | *flag)
}
