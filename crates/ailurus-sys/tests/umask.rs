//! The umask is the process's, so this is a program of its own.

use ailurus_sys::process::{set_umask, settle_umask};

#[test]
fn only_a_umask_of_zero_is_replaced() {
    let inherited = set_umask(0);
    settle_umask();
    assert_eq!(set_umask(0o27), 0o022);
    settle_umask();
    assert_eq!(set_umask(inherited), 0o27);
}
