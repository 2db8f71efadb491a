//! Becoming the user who logged in, for good.

use std::ffi::CString;
use std::path::Path;

use crate::error::{Error, Result};
use crate::users::User;

/// Gives this process the groups, the group id and the user id of a user (real, effective and saved) and makes sure that
/// the former ones cannot be had back.
///
/// A process that runs as that user already keeps its groups. Any other process must be root's. User id 0 is refused
/// before anything is changed.
///
/// With a `jail` that directory becomes the root of the file system for the process, which must be root's. Groups are looked
/// up before that: inside, the user could have put a group file of their own, or a library that looks groups up.
///
/// The memory of the process (which may hold root's secrets, such as the key of the host) stays closed to the user: it is
/// neither dumped nor shown to debuggers.
///
/// Threads: the ids are changed through the C library, which changes them for all threads of the process. Do it before
/// threads exist all the same: one that is in the middle of something may act with half of the ids changed.
///
/// # Errors
///
/// If anything fails. The process may then have some ids of the one and some of the other, and **must exit**.
pub fn become_user(user: &User, jail: Option<&Path>) -> Result<()> {
    if user.uid == 0 {
        return Err(Error::Refused("nobody becomes root"));
    }
    let effective = rustix::process::geteuid().as_raw();
    if effective != 0 && effective != user.uid {
        return Err(Error::Refused("only root becomes another user"));
    }
    if effective != 0 && jail.is_some() {
        return Err(Error::Refused("only root confines"));
    }
    if effective == 0 {
        take_groups(user)?;
        set_gid(user.gid)?;
    }
    if let Some(jail) = jail {
        confine(jail)?;
    }
    set_uid(user.uid)?;
    if effective == 0 {
        close_memory()?;
    }
    verify(user, effective == 0)
}

/// Linux does this by itself when ids change, unless fs.suid_dumpable says otherwise.
fn close_memory() -> Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .map_err(Error::os("close the memory of the process"))?;
    Ok(())
}

/// Leaves nothing outside within reach but what is open already.
fn confine(jail: &Path) -> Result<()> {
    let failed =
        |op| move |error: rustix::io::Errno| Error::Path { op, path: jail.into(), source: error.into() };
    rustix::process::chdir(jail).map_err(failed("enter"))?;
    rustix::process::chroot(".").map_err(failed("be confined to"))?;
    rustix::process::chdir("/").map_err(failed("enter"))
}

fn take_groups(user: &User) -> Result<()> {
    let name = CString::new(user.name.as_str()).map_err(|_| Error::Refused("a user name with a NUL"))?;
    // SAFETY: the name is NUL-terminated.
    succeeded(unsafe { libc::initgroups(name.as_ptr(), user.gid) }, "set the supplementary groups")
}

fn set_gid(gid: u32) -> Result<()> {
    // SAFETY: takes numbers only.
    succeeded(unsafe { libc::setresgid(gid, gid, gid) }, "set the group id")
}

fn set_uid(uid: u32) -> Result<()> {
    // SAFETY: takes numbers only.
    succeeded(unsafe { libc::setresuid(uid, uid, uid) }, "set the user id")
}

fn succeeded(result: i32, op: &'static str) -> Result<()> {
    if result == 0 { Ok(()) } else { Err(Error::last(op)) }
}

/// All ids are the user's, and asking for root's fails.
fn verify(user: &User, groups_changed: bool) -> Result<()> {
    let (mut uids, mut gids) = ([0; 3], [0; 3]);
    // SAFETY: six pointers to live variables.
    let (uid_result, gid_result) = unsafe {
        let [real, effective, saved] = &mut uids;
        let uid_result = libc::getresuid(real, effective, saved);
        let [real, effective, saved] = &mut gids;
        (uid_result, libc::getresgid(real, effective, saved))
    };
    succeeded(uid_result, "read the user ids")?;
    succeeded(gid_result, "read the group ids")?;
    if uids != [user.uid; 3] || groups_changed && gids != [user.gid; 3] {
        return Err(Error::Refused("the ids are not those that were set"));
    }
    // SAFETY: both take numbers only.
    let regained = unsafe { libc::setuid(0) == 0 || libc::seteuid(0) == 0 };
    // SAFETY: both take numbers only.
    let regained_group =
        groups_changed && user.gid != 0 && unsafe { libc::setgid(0) == 0 || libc::setegid(0) == 0 };
    if regained || regained_group {
        return Err(Error::Refused("the privileges of root can be regained"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_becomes_root() {
        let root = User { name: "root".into(), uid: 0, gid: 0, home: "/".into(), shell: "".into() };
        assert!(matches!(become_user(&root, None), Err(Error::Refused(_))));
    }
}
