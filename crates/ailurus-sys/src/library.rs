//! Shared libraries that are loaded at run time and never unloaded.

use std::ffi::{CStr, c_void};
use std::mem;
use std::ptr::NonNull;

/// A loaded library.
pub(crate) struct Library(NonNull<c_void>);

impl Library {
    /// Loads the first library of that list that can be loaded; else returns what the loader said of the last one.
    pub(crate) fn open(names: &[&CStr]) -> Result<Self, String> {
        let mut reason = String::from("no name");
        for name in names {
            // SAFETY: the name is NUL-terminated. The libraries named in this crate are those of the system, whose
            // initialisers any program runs that is linked with them.
            let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
            match NonNull::new(handle) {
                Some(handle) => return Ok(Self(handle)),
                None => reason = last_error(),
            }
        }
        Err(reason)
    }

    /// Returns a function of the library.
    ///
    /// # Safety
    ///
    /// `F` is a pointer to a C function with the signature that the library gives to that name.
    pub(crate) unsafe fn function<F: Copy>(&self, name: &CStr) -> Result<F, String> {
        assert_eq!(mem::size_of::<F>(), mem::size_of::<*mut c_void>(), "F is a function pointer");
        // SAFETY: the handle is of a library that is never closed, the name is NUL-terminated.
        let address = unsafe { libc::dlsym(self.0.as_ptr(), name.as_ptr()) };
        let address = NonNull::new(address).ok_or_else(last_error)?.as_ptr();
        // SAFETY: both are one pointer in size (asserted), it is not null, and the caller vouches for the signature.
        Ok(unsafe { mem::transmute_copy::<*mut c_void, F>(&address) })
    }
}

fn last_error() -> String {
    // SAFETY: dlerror takes nothing; what it returns is a NUL-terminated string, valid until the next call in this
    // thread, or null.
    unsafe {
        let text = libc::dlerror();
        if text.is_null() {
            "unknown error".into()
        } else {
            CStr::from_ptr(text).to_string_lossy().into_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_is_named() {
        let reason =
            Library::open(&[c"libailurus-does-not-exist.so.9"]).map(|_| ()).expect_err("no such library");
        assert!(reason.contains("libailurus-does-not-exist"), "{reason}");
    }
}
