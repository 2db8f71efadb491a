//! The accounts of the system: passwd and group.
//!
//! Names are octets when asked for (they come from the network) and text when found.

use std::ffi::{CStr, CString, OsStr, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::ptr;

use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// An account of the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its login name.
    pub name: String,
    /// Its user id.
    pub uid: u32,
    /// Its primary group.
    pub gid: u32,
    /// Its home directory, as the entry says; need not exist.
    pub home: PathBuf,
    /// Its shell; may be empty.
    pub shell: PathBuf,
}

/// Returns the account of exactly that name, `None` if there is none (or if that can be the name of none).
///
/// # Errors
///
/// If the user database cannot be asked, or if the entry is not text.
pub fn by_name(name: &[u8]) -> Result<Option<User>> {
    Ok(entry_by_name(name)?.map(|(user, _)| user))
}

/// Returns the account with that user id: the first one, if several share it.
///
/// # Errors
///
/// If the user database cannot be asked, or if the entry is not text.
pub fn by_uid(uid: u32) -> Result<Option<User>> {
    let found = look_up("look up a user by uid", |entry, buffer, length, result| {
        // SAFETY: the pointers are those that look_up vouches for.
        unsafe { libc::getpwuid_r(uid, entry, buffer, length, result) }
    })?;
    Ok(found.map(|(user, _)| user))
}

/// Returns the account that this process runs as: the one logged in at the terminal if it has our effective user id
/// (several accounts may share one), else the first one with that id; `None` if there is no such account.
///
/// # Errors
///
/// If the user database cannot be asked.
pub fn current() -> Result<Option<User>> {
    let uid = rustix::process::geteuid().as_raw();
    if let Some(name) = login_name()
        && let Some(user) = by_name(&name)?
        && user.uid == uid
    {
        return Ok(Some(user));
    }
    by_uid(uid)
}

/// Returns the name of who logged in at our controlling terminal, if there is one and it is known.
pub fn login_name() -> Option<Vec<u8>> {
    const LENGTH: u16 = 256;
    let mut buffer: [c_char; LENGTH as usize] = [0; LENGTH as usize];
    // SAFETY: the buffer is writable and of that length.
    let result = unsafe { getlogin_r(buffer.as_mut_ptr(), LoginLength::from(LENGTH)) };
    if result != 0 {
        return None;
    }
    // SAFETY: on success there is a NUL-terminated string in the buffer.
    let name = unsafe { CStr::from_ptr(buffer.as_ptr()) }.to_bytes();
    (!name.is_empty()).then(|| name.to_vec())
}

/// Returns whether the member list of a group names that user. The user's primary group does not count (spec/auth.md §2);
/// an unknown group has no members.
///
/// # Errors
///
/// If the group database cannot be asked.
pub fn is_member(user: &[u8], group: &[u8]) -> Result<bool> {
    const OP: &str = "look up a group";
    let Ok(group) = CString::new(group) else { return Ok(false) };
    with_buffer(OP, |buffer| {
        // SAFETY: a group of nulls and zeros is a value of the type.
        let mut entry: libc::group = unsafe { std::mem::zeroed() };
        let mut result = ptr::null_mut();
        // SAFETY: the name is NUL-terminated, the buffer writable and of that length.
        let code = unsafe {
            libc::getgrnam_r(
                group.as_ptr(),
                &raw mut entry,
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                &raw mut result,
            )
        };
        // SAFETY: if there is a result, its member list is a null-terminated array of strings in the buffer.
        found(code, result, || unsafe { lists(entry.gr_mem, user) })
    })
    .map(|member| member.unwrap_or(false))
}

unsafe extern "C" {
    /// getlogin(3); the libc crate lacks it.
    fn getlogin_r(buffer: *mut c_char, length: LoginLength) -> c_int;
}

#[cfg(target_os = "freebsd")]
type LoginLength = c_int;
#[cfg(not(target_os = "freebsd"))]
type LoginLength = usize;

/// Returns the account and its password field (often `x`).
pub(crate) fn entry_by_name(name: &[u8]) -> Result<Option<(User, Zeroizing<Vec<u8>>)>> {
    let Ok(name) = CString::new(name) else { return Ok(None) };
    look_up("look up a user by name", |entry, buffer, length, result| {
        // SAFETY: the name is NUL-terminated; the other pointers are those that look_up vouches for.
        unsafe { libc::getpwnam_r(name.as_ptr(), entry, buffer, length, result) }
    })
}

/// Calls a function of the getpwnam_r kind with an entry, a buffer and its length, and a result that are valid for it.
fn look_up(
    op: &'static str,
    call: impl Fn(*mut libc::passwd, *mut c_char, usize, *mut *mut libc::passwd) -> c_int,
) -> Result<Option<(User, Zeroizing<Vec<u8>>)>> {
    with_buffer(op, |buffer| {
        // SAFETY: a passwd of nulls and zeros is a value of the type.
        let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
        let mut result = ptr::null_mut();
        let code = call(&raw mut entry, buffer.as_mut_ptr().cast(), buffer.len(), &raw mut result);
        // SAFETY: if there is a result, the strings of the entry are in the buffer.
        found(code, result, || unsafe { user(&entry) })
    })?
    .transpose()
}

/// What came of a call with one buffer.
pub(crate) enum Found<T> {
    Yes(T),
    No,
    TooSmall,
    Failed(c_int),
}

/// Reads the result of a function of the getpwnam_r kind.
pub(crate) fn found<E, T>(code: c_int, result: *mut E, read: impl FnOnce() -> T) -> Found<T> {
    match code {
        0 if result.is_null() => Found::No,
        0 => Found::Yes(read()),
        libc::ERANGE => Found::TooSmall,
        // What name services say of a name that they do not know (getpwnam(3), NOTES).
        libc::ENOENT | libc::ESRCH => Found::No,
        code => Found::Failed(code),
    }
}

/// Calls with growing buffers, up to 4 MiB (a large group), each wiped afterwards.
pub(crate) fn with_buffer<T>(
    op: &'static str,
    mut call: impl FnMut(&mut [u8]) -> Found<T>,
) -> Result<Option<T>> {
    let mut length = 4096;
    loop {
        let mut buffer = Zeroizing::new(vec![0; length]);
        match call(&mut buffer) {
            Found::Yes(value) => return Ok(Some(value)),
            Found::No => return Ok(None),
            Found::TooSmall if length < 4 << 20 => length *= 4,
            Found::TooSmall => return Err(Error::number(op, libc::ERANGE)),
            Found::Failed(libc::EINTR) => {}
            Found::Failed(code) => return Err(Error::number(op, code)),
        }
    }
}

/// # Safety
///
/// The strings of the entry are null or NUL-terminated.
unsafe fn user(entry: &libc::passwd) -> Result<(User, Zeroizing<Vec<u8>>)> {
    // SAFETY: by the contract above.
    let (name, password, home, shell) = unsafe {
        (octets(entry.pw_name), octets(entry.pw_passwd), octets(entry.pw_dir), octets(entry.pw_shell))
    };
    let Ok(name) = std::str::from_utf8(name) else {
        return Err(Error::Refused("an account whose name is not UTF-8"));
    };
    let path = |octets: &[u8]| PathBuf::from(OsStr::from_bytes(octets));
    let user = User {
        name: name.into(),
        uid: entry.pw_uid,
        gid: entry.pw_gid,
        home: path(home),
        shell: path(shell),
    };
    Ok((user, Zeroizing::new(password.to_vec())))
}

/// # Safety
///
/// The string is null or NUL-terminated, and lives as long as the result is used.
pub(crate) unsafe fn octets<'b>(string: *const c_char) -> &'b [u8] {
    if string.is_null() {
        return b"";
    }
    // SAFETY: by the contract above.
    unsafe { CStr::from_ptr(string) }.to_bytes()
}

/// # Safety
///
/// `members` is null or a null-terminated array of NUL-terminated strings.
unsafe fn lists(mut members: *mut *mut c_char, user: &[u8]) -> bool {
    if members.is_null() {
        return false;
    }
    // SAFETY: by the contract above.
    unsafe {
        while !(*members).is_null() {
            if octets(*members) == user {
                return true;
            }
            members = members.add(1);
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_by_name_and_uid() {
        let root = by_name(b"root").expect("the database answers").expect("there is a root");
        assert_eq!((root.uid, root.gid), (0, 0));
        assert_eq!(by_uid(0).expect("the database answers").map(|user| user.uid), Some(0));
    }

    #[test]
    fn unknown_names_are_no_error() {
        for name in [&b"ailurus-nobody-has-this"[..], b"", b"a\0b", b"ro\xffot", &[b'a'; 70_000]] {
            assert_eq!(by_name(name).expect("the database answers"), None);
        }
        assert!(!is_member(b"root", b"ailurus-no-such-group").expect("the database answers"));
        assert!(!is_member(b"ailurus-nobody-has-this", b"root").expect("the database answers"));
    }

    #[test]
    fn member_lists_are_searched() {
        let mut ada = *b"ada\0";
        let mut ben = *b"ben\0";
        let mut members: [*mut c_char; 3] =
            [ada.as_mut_ptr().cast(), ben.as_mut_ptr().cast(), ptr::null_mut()];
        // SAFETY: a null-terminated array of NUL-terminated strings.
        unsafe {
            assert!(lists(members.as_mut_ptr(), b"ben"));
            assert!(!lists(members.as_mut_ptr(), b"be"));
            assert!(!lists(ptr::null_mut(), b"ben"));
        }
    }
}
