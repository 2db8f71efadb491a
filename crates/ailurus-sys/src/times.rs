//! The clock, the times of files, and the local time zone.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};

use crate::error::{Error, Result};

/// Returns the seconds since 1970 UTC.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(since).unwrap_or(i64::MAX)
}

/// Sets access and modification time of an open file, in whole seconds since 1970.
///
/// # Errors
///
/// If the file is neither ours nor writable for us.
pub fn set_times(file: impl AsFd, access: i64, modification: i64) -> Result<()> {
    rustix::fs::futimens(file, &timestamps(access, modification))
        .map_err(Error::os("set the times of a file"))
}

/// Sets access and modification time of the file of that name (a symbolic link is followed), in whole seconds since 1970.
///
/// # Errors
///
/// If there is no such file, or it is neither ours nor writable for us.
pub fn set_times_at(path: &Path, access: i64, modification: i64) -> Result<()> {
    rustix::fs::utimensat(CWD, path, &timestamps(access, modification), AtFlags::empty())
        .map_err(|error| Error::Path { op: "set the times of", path: path.into(), source: error.into() })
}

fn timestamps(access: i64, modification: i64) -> Timestamps {
    let whole = |seconds| Timespec { tv_sec: seconds, tv_nsec: 0 };
    Timestamps { last_access: whole(access), last_modification: whole(modification) }
}

/// Returns by how many seconds local time is ahead of UTC at that instant.
#[allow(clippy::useless_conversion, reason = "long is shorter on some systems")]
pub(crate) fn utc_offset(at: i64) -> i64 {
    local_time(at).map_or(0, |local| local.tm_gmtoff.into())
}

/// Returns the local time as syslog wants it, `Nov  3 09:05:07`.
pub(crate) fn syslog_stamp() -> String {
    let Some(local) = local_time(now()) else { return "Jan  1 00:00:00".into() };
    let mut buffer = vec![0_u8; 32];
    // SAFETY: the buffer is writable and of that length, the format NUL-terminated, the time initialised.
    let length = unsafe {
        libc::strftime(buffer.as_mut_ptr().cast(), buffer.len(), c"%e %H:%M:%S".as_ptr(), &raw const local)
    };
    buffer.truncate(length);
    // The name of the month is English whatever the locale.
    let month = usize::try_from(local.tm_mon).ok().and_then(|month| MONTHS.get(month)).unwrap_or(&MONTHS[0]);
    format!("{month} {}", OsString::from_vec(buffer).to_string_lossy())
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

fn local_time(at: i64) -> Option<libc::tm> {
    let at = libc::time_t::try_from(at).ok()?;
    // SAFETY: a tm of zeros is a value of the type.
    let mut local: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live variables.
    let result = unsafe { libc::localtime_r(&raw const at, &raw mut local) };
    (!result.is_null()).then_some(local)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn times_are_set_in_whole_seconds() {
        let file = tempfile::NamedTempFile::new().expect("a scratch file");
        set_times(file.as_file(), 1_000_000_007, 1_000_000_009).expect("ours");
        let read = || {
            let data = file.as_file().metadata().expect("it is there");
            (data.atime(), data.atime_nsec(), data.mtime(), data.mtime_nsec())
        };
        assert_eq!(read(), (1_000_000_007, 0, 1_000_000_009, 0));
        set_times_at(file.path(), 5, -7).expect("ours");
        assert_eq!(read(), (5, 0, -7, 0));
        let missing = file.path().with_extension("missing");
        let error = set_times_at(&missing, 1, 1).expect_err("not there");
        assert!(error.to_string().contains("missing"), "{error}");
    }

    #[test]
    fn the_stamp_has_its_shape() {
        let stamp = syslog_stamp();
        assert_eq!(stamp.len(), 15, "{stamp}");
        assert!(MONTHS.contains(&&stamp[..3]), "{stamp}");
        assert!(now() > 1_700_000_000);
        assert!(utc_offset(now()).abs() <= 15 * 3600);
    }
}
