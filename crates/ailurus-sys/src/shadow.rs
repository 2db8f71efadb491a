//! Passwords checked against passwd and shadow with the system's crypt (spec/auth.md §3).
//!
//! The password field of passwd is tried first, then shadow's, as the original does; only the latter has expiry rules.
//! An unknown or locked account costs one crypt too, with the setting of an account of this host, so that the time of an
//! answer does not tell which names exist.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::fmt;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::error::{Error, Result};
use crate::library::Library;
use crate::users::{self, User};

/// The answer of [`check`].
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The password is right and nothing has expired.
    Accepted {
        /// Whose it is.
        user: User,
        /// What the user should be told, in this order.
        warnings: Vec<Warning>,
    },
    /// Anything else. The reason is for the log alone.
    Refused(Reason),
}

/// Why a password is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// There is no such account.
    #[error("no such user")]
    UnknownUser,
    /// The account has no password that could match: none at all, or it is locked.
    #[error("no usable password")]
    NoPassword,
    /// The password is wrong, empty, or contains a NUL.
    #[error("wrong password")]
    WrongPassword,
    /// The password is right, but must be changed before it is used again, or is too old.
    #[error("password expired")]
    PasswordExpired,
    /// The password is right, but the account has expired.
    #[error("account expired")]
    AccountExpired,
}

/// What a user should know about an account that still works. `Display` gives the text of the original.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warning {
    /// The password can be used for that many more days, at least 1.
    PasswordExpiresIn(i64),
    /// The password can be used today for the last time.
    PasswordExpiresToday,
    /// The account can be used for that many more days, 1 to 27.
    AccountExpiresIn(i64),
    /// The account can be used today for the last time.
    AccountExpiresToday,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PasswordExpiresIn(days) => write!(f, "Password expires in {days} day(s)"),
            Self::PasswordExpiresToday => f.write_str("Password expires today!"),
            Self::AccountExpiresIn(days) => write!(f, "Account expires in {days} day(s)"),
            Self::AccountExpiresToday => f.write_str("Account expires today!"),
        }
    }
}

/// The fields of a shadow entry that say how long a password is good: days, or days since 1970; negative if not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShadowEntry {
    /// When the password was changed; 0 demands that it be changed at the next login.
    pub last_change: i64,
    /// How many days the password is valid; no limit if not positive.
    pub max: i64,
    /// How many days before the password expires the user is warned.
    pub warn: i64,
    /// The last day of the account; no limit if not positive.
    pub expire: i64,
}

impl ShadowEntry {
    /// Returns the warnings of an account on a day (in days since 1970).
    ///
    /// The day of expiry is the last on which password or account can be used. The inactivity field adds nothing: it
    /// counts days in which an expired password may still be changed at login, and a mail login cannot change it.
    ///
    /// # Errors
    ///
    /// The reason to refuse if password or account has expired.
    pub fn check(&self, today: i64) -> std::result::Result<Vec<Warning>, Reason> {
        let password_end =
            (self.last_change > 0 && self.max > 0).then(|| self.last_change.saturating_add(self.max));
        let account_end = (self.expire > 0).then_some(self.expire);
        if self.last_change == 0 || password_end.is_some_and(|end| end < today) {
            return Err(Reason::PasswordExpired);
        }
        if account_end.is_some_and(|end| end < today) {
            return Err(Reason::AccountExpired);
        }
        let password = password_end.map(|end| end.saturating_sub(today)).filter(|left| *left <= self.warn);
        let account = account_end.map(|end| end.saturating_sub(today)).filter(|left| *left < ACCOUNT_WARNING);
        let password = password.map(|left| match left {
            0 => Warning::PasswordExpiresToday,
            left => Warning::PasswordExpiresIn(left),
        });
        let account = account.map(|left| match left {
            0 => Warning::AccountExpiresToday,
            left => Warning::AccountExpiresIn(left),
        });
        Ok(password.into_iter().chain(account).collect())
    }
}

/// Checks the password of the account of exactly that name. Needs the right to read shadow.
///
/// # Errors
///
/// If the databases cannot be read (an unprivileged process cannot read shadow), or without libcrypt.
pub fn check(name: &[u8], password: &[u8]) -> Result<Verdict> {
    let Some((user, passwd_field)) = users::entry_by_name(name)? else {
        spend_a_crypt(password)?;
        return Ok(Verdict::Refused(Reason::UnknownUser));
    };
    if is_hash(&passwd_field) && matches(password, &passwd_field)? {
        return Ok(Verdict::Accepted { user, warnings: Vec::new() });
    }
    let shadow = shadow_entry(name)?.filter(|(_, field)| is_hash(field));
    let Some((entry, shadow_field)) = shadow else {
        if is_hash(&passwd_field) {
            return Ok(Verdict::Refused(Reason::WrongPassword));
        }
        spend_a_crypt(password)?;
        return Ok(Verdict::Refused(Reason::NoPassword));
    };
    if !matches(password, &shadow_field)? {
        return Ok(Verdict::Refused(Reason::WrongPassword));
    }
    Ok(match entry.check(today()) {
        Ok(warnings) => Verdict::Accepted { user, warnings },
        Err(reason) => Verdict::Refused(reason),
    })
}

/// Returns whether libcrypt can be loaded.
pub fn available() -> bool {
    crypt_function().is_ok()
}

const ACCOUNT_WARNING: i64 = 28;

const LIBRARY_NAMES: [&CStr; 3] = [c"libcrypt.so.1", c"libcrypt.so.2", c"libcrypt.so.5"];

type Crypt = unsafe extern "C" fn(*const c_char, *const c_char, *mut c_void) -> *mut c_char;

/// `struct crypt_data` is 32 KiB in libxcrypt and 128 KiB in old glibc; both take a larger one that is zeroed.
const CRYPT_DATA: usize = 256 << 10;

/// A password field that a crypt of some kind can have made: neither empty, nor `x`, nor locked with `!` or `*`.
fn is_hash(field: &[u8]) -> bool {
    field.len() >= 2 && !matches!(field.first(), Some(b'!' | b'*'))
}

/// Returns whether the password is the one of which `hash` is the crypt.
fn matches(password: &[u8], hash: &[u8]) -> Result<bool> {
    let Some(computed) = crypt(password, hash)? else {
        // Words like `LK` in place of a hash fail at once.
        spend_a_crypt(password)?;
        return Ok(false);
    };
    let equal: bool = computed.ct_eq(hash).into();
    Ok(equal && !password.is_empty())
}

/// Takes the time of a check that fails.
fn spend_a_crypt(password: &[u8]) -> Result<()> {
    // A method that this libcrypt lacks takes no time.
    if crypt(password, stand_in())?.is_none() {
        drop(crypt(password, FALLBACK)?);
    }
    Ok(())
}

const FALLBACK: &[u8] = b"$6$ailurus.ailurus$";

/// Returns the setting of the last usable account of shadow, whose method and cost are probably those of most.
fn stand_in() -> &'static [u8] {
    static STAND_IN: OnceLock<Vec<u8>> = OnceLock::new();
    STAND_IN.get_or_init(|| {
        let shadow = Zeroizing::new(std::fs::read("/etc/shadow").unwrap_or_default());
        last_setting(&shadow).unwrap_or(FALLBACK).to_vec()
    })
}

/// `$2b$12$` and the salt.
const BCRYPT_SETTING: usize = 29;

/// Returns method, cost and salt of the last hash of a shadow file, without the hash itself.
fn last_setting(shadow: &[u8]) -> Option<&[u8]> {
    let mut fields =
        shadow.split(|&byte| byte == b'\n').filter_map(|line| line.split(|&byte| byte == b':').nth(1));
    let hash = fields.rfind(|field| field.starts_with(b"$"))?;
    // bcrypt has no `$` between its salt of 22 characters and the hash.
    let end = if hash.starts_with(b"$2") {
        BCRYPT_SETTING
    } else {
        hash.iter().rposition(|&byte| byte == b'$')? + 1
    };
    hash.get(..end).filter(|setting| setting.len() > 3)
}

/// Returns the crypt of a password with the setting (or whole hash) given, `None` if it cannot be made.
fn crypt(password: &[u8], setting: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>> {
    let crypt = crypt_function()
        .as_ref()
        .map_err(|reason| Error::Unavailable { what: "libcrypt", reason: reason.clone() })?;
    let (password, setting) = (c_text(password), c_text(setting));
    let (Ok(password), Ok(setting)) =
        (CStr::from_bytes_with_nul(&password), CStr::from_bytes_with_nul(&setting))
    else {
        return Ok(None);
    };
    let mut data = vec![0_u128; CRYPT_DATA / size_of::<u128>()];
    // SAFETY: both strings are NUL-terminated; the data is zeroed as crypt_r demands, larger than its type in any
    // libcrypt, and aligned as strictly as any.
    let computed = unsafe {
        let text = crypt(password.as_ptr(), setting.as_ptr(), data.as_mut_ptr().cast());
        // What it returns is null or a string inside the data.
        Zeroizing::new(users::octets(text).to_vec())
    };
    data.zeroize();
    // Failure is null, or a text that starts with `*` and so equals no hash.
    Ok((!computed.is_empty() && !computed.starts_with(b"*")).then_some(computed))
}

fn c_text(octets: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(octets.len() + 1));
    text.extend_from_slice(octets);
    text.push(0);
    text
}

fn crypt_function() -> &'static std::result::Result<Crypt, String> {
    static CRYPT: OnceLock<std::result::Result<Crypt, String>> = OnceLock::new();
    CRYPT.get_or_init(|| {
        let library = Library::open(&LIBRARY_NAMES)?;
        // SAFETY: the signature is that of crypt_r(3); the struct is opaque to us.
        unsafe { library.function(c"crypt_r") }
    })
}

#[cfg(target_os = "linux")]
fn shadow_entry(name: &[u8]) -> Result<Option<(ShadowEntry, Zeroizing<Vec<u8>>)>> {
    let Ok(name) = std::ffi::CString::new(name) else { return Ok(None) };
    users::with_buffer("look up a user in shadow", |buffer| {
        // SAFETY: an spwd of nulls and zeros is a value of the type.
        let mut entry: libc::spwd = unsafe { std::mem::zeroed() };
        let mut result = std::ptr::null_mut();
        // SAFETY: the name is NUL-terminated, the buffer writable and of that length.
        let code: c_int = unsafe {
            libc::getspnam_r(
                name.as_ptr(),
                &raw mut entry,
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                &raw mut result,
            )
        };
        users::found(code, result, || {
            #[allow(clippy::useless_conversion, reason = "long is shorter on some systems")]
            let aging = ShadowEntry {
                last_change: entry.sp_lstchg.into(),
                max: entry.sp_max.into(),
                warn: entry.sp_warn.into(),
                expire: entry.sp_expire.into(),
            };
            // SAFETY: there is a result, so the field is a string in the buffer.
            (aging, Zeroizing::new(unsafe { users::octets(entry.sp_pwdp) }.to_vec()))
        })
    })
}

/// Elsewhere the passwd entry has the hash, for a process that may see it.
#[cfg(not(target_os = "linux"))]
fn shadow_entry(_name: &[u8]) -> Result<Option<(ShadowEntry, Zeroizing<Vec<u8>>)>> {
    Ok(None)
}

/// Returns the local date as days since 1970.
fn today() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let now = i64::try_from(now).unwrap_or(0);
    (now + crate::times::utc_offset(now)).div_euclid(86400)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNSET: ShadowEntry = ShadowEntry { last_change: -1, max: -1, warn: -1, expire: -1 };

    #[test]
    fn nothing_set_means_no_limit() {
        assert_eq!(UNSET.check(20_000), Ok(vec![]));
        assert_eq!(ShadowEntry { last_change: 100, max: 0, expire: 0, ..UNSET }.check(20_000), Ok(vec![]));
        assert_eq!(ShadowEntry { max: 10, ..UNSET }.check(20_000), Ok(vec![]), "no date to count from");
    }

    #[test]
    fn a_password_expires_after_its_last_day() {
        let entry = ShadowEntry { last_change: 1000, max: 90, warn: 7, expire: -1 };
        assert_eq!(entry.check(1082), Ok(vec![]));
        assert_eq!(entry.check(1083), Ok(vec![Warning::PasswordExpiresIn(7)]));
        assert_eq!(entry.check(1089), Ok(vec![Warning::PasswordExpiresIn(1)]));
        assert_eq!(entry.check(1090), Ok(vec![Warning::PasswordExpiresToday]));
        assert_eq!(entry.check(1091), Err(Reason::PasswordExpired));
        assert_eq!(ShadowEntry { warn: -1, ..entry }.check(1090), Ok(vec![]), "no warning wanted");
        assert_eq!(ShadowEntry { last_change: 0, ..entry }.check(1), Err(Reason::PasswordExpired));
        let endless = ShadowEntry { max: i64::MAX, ..entry };
        assert_eq!(endless.check(1091), Ok(vec![]));
    }

    #[test]
    fn an_account_expires_after_its_last_day() {
        let entry = ShadowEntry { expire: 1000, ..UNSET };
        assert_eq!(entry.check(972), Ok(vec![]));
        assert_eq!(entry.check(973), Ok(vec![Warning::AccountExpiresIn(27)]));
        assert_eq!(entry.check(1000), Ok(vec![Warning::AccountExpiresToday]));
        assert_eq!(entry.check(1001), Err(Reason::AccountExpired));
    }

    #[test]
    fn warnings_have_the_words_of_the_original() {
        let both = ShadowEntry { last_change: 990, max: 10, warn: 7, expire: 1003 };
        let texts: Vec<_> = both.check(1000).expect("not expired").iter().map(Warning::to_string).collect();
        assert_eq!(texts, ["Password expires today!", "Account expires in 3 day(s)"]);
        assert_eq!(Warning::PasswordExpiresIn(2).to_string(), "Password expires in 2 day(s)");
        assert_eq!(Warning::AccountExpiresToday.to_string(), "Account expires today!");
    }

    #[test]
    fn known_crypts() {
        if !available() {
            return println!("no libcrypt: not run");
        }
        // As `openssl passwd -5 -salt saltstring` computes it.
        let hash = b"$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5";
        assert!(matches(b"Hello world!", hash).expect("libcrypt is there"));
        for wrong in [&b"Hello world"[..], b"", b"Hello world!\0"] {
            assert!(!matches(wrong, hash).expect("libcrypt is there"), "{}", wrong.escape_ascii());
        }
        for no_hash in [&b"*0"[..], b"*", b"!!", b"x", b"", b"$99$what$ever", b"a\0b"] {
            assert!(!matches(b"pw", no_hash).expect("libcrypt is there"), "{}", no_hash.escape_ascii());
        }
    }

    #[test]
    fn the_stand_ins_cost_a_crypt() {
        if !available() {
            return println!("no libcrypt: not run");
        }
        for setting in [FALLBACK, b"$2b$05$abcdefghijklmnopqrstuu"] {
            let computed = crypt(b"adapw", setting).expect("libcrypt is there").expect("a known method");
            assert!(computed.len() > setting.len() && computed.starts_with(setting));
        }
    }

    #[test]
    fn the_stand_in_is_like_the_last_account() {
        let shadow =
            b"root:$6$a$b:1::::::\nada:$y$j9T$salt$hash:2::::::\nlocked:!$6$x$y:3::::::\nbin:*:4::::::\n";
        assert_eq!(last_setting(shadow), Some(&b"$y$j9T$salt$"[..]));
        let bcrypt = b"ada:$2b$05$abcdefghijklmnopqrstuuHASHHASHHASHHASHHASHHASHHASH:1:::::\n";
        assert_eq!(last_setting(bcrypt), Some(&b"$2b$05$abcdefghijklmnopqrstuu"[..]));
        assert_eq!(last_setting(b"ada:$2b$05$short:1:::::"), None);
        assert_eq!(last_setting(b"bin:*:4::::::\n"), None);
        assert_eq!(last_setting(b""), None);
        assert_eq!(last_setting(b"a:$:\nb:$$:"), None);
    }
}
