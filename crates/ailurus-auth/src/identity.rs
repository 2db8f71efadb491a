//! Who logs in, and as whom.

use std::borrow::Cow;
use std::fmt;

/// An authentication identity and, if it is another, the authorization identity that it wants to act as.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// Whose password or secret proves the login.
    pub authcid: Vec<u8>,
    /// Whose mail is wanted; `None` if it is that of `authcid` itself.
    pub authzid: Option<Vec<u8>>,
}

impl Identity {
    /// Reads a user name as people type it: `user`, or `user*admin` for the mail of `user` with the password of `admin`.
    ///
    /// The first `*` divides. `user*` with nothing behind it is `user`.
    pub fn parse_star(name: &[u8]) -> Self {
        match split_once(name, b'*') {
            Some((user, [])) => Self { authcid: user.to_vec(), authzid: None },
            Some((user, admin)) => Self { authcid: admin.to_vec(), authzid: Some(user.to_vec()) },
            None => Self { authcid: name.to_vec(), authzid: None },
        }
    }

    /// Returns whose mailboxes are wanted: the authorization identity if there is another.
    pub fn user(&self) -> &[u8] {
        // Where the names differ in case alone nobody looks for an administrator, and so the account must be the one
        // whose password was checked, even if the other exists too.
        match (&self.authzid, self.admin()) {
            (Some(user), Some(_)) => user,
            _ => &self.authcid,
        }
    }

    /// Returns the authenticating user if the login is on behalf of another, that is if the administrator rule applies
    /// (spec/auth.md §2). The two names are compared without regard to ASCII case.
    pub fn admin(&self) -> Option<&[u8]> {
        let user = self.authzid.as_deref()?;
        (!user.eq_ignore_ascii_case(&self.authcid)).then_some(&self.authcid)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.authzid {
            Some(user) => write!(f, "Identity({}*{})", user.escape_ascii(), self.authcid.escape_ascii()),
            None => write!(f, "Identity({})", self.authcid.escape_ascii()),
        }
    }
}

/// Returns the names under which a user is looked up, in order: as given, and in lower case if that differs.
///
/// The second is asked only if the first is unknown (so `ADA` finds `ada`).
pub fn names_to_try(name: &[u8]) -> impl Iterator<Item = Cow<'_, [u8]>> {
    let lower = name.iter().any(u8::is_ascii_uppercase).then(|| Cow::Owned(name.to_ascii_lowercase()));
    std::iter::once(Cow::Borrowed(name)).chain(lower)
}

/// Returns the passwords that are tried for one login, in order: the one given and, if it starts with a space and has
/// more behind it, what is behind (for clients that send two spaces before the password). None if it is empty.
pub fn passwords_to_try(password: &[u8]) -> impl Iterator<Item = &[u8]> {
    let given = (!password.is_empty()).then_some(password);
    let behind_space = password.strip_prefix(b" ").filter(|rest| !rest.is_empty());
    given.into_iter().chain(behind_space)
}

fn split_once(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let (head, tail) = bytes.split_at(bytes.iter().position(|&byte| byte == at)?);
    tail.split_first().map(|(_, tail)| (head, tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(authcid: &str, authzid: Option<&str>) -> Identity {
        Identity { authcid: authcid.into(), authzid: authzid.map(Into::into) }
    }

    #[test]
    fn the_first_star_divides() {
        assert_eq!(Identity::parse_star(b"ada"), identity("ada", None));
        assert_eq!(Identity::parse_star(b"ben*postmgr"), identity("postmgr", Some("ben")));
        assert_eq!(Identity::parse_star(b"ben*post*mgr"), identity("post*mgr", Some("ben")));
        assert_eq!(Identity::parse_star(b"ben*"), identity("ben", None));
        assert_eq!(Identity::parse_star(b"*postmgr"), identity("postmgr", Some("")));
        assert_eq!(Identity::parse_star(b""), identity("", None));
    }

    #[test]
    fn the_administrator_rule_applies_to_another_name_only() {
        let other = Identity::parse_star(b"ben*postmgr");
        assert_eq!((other.user(), other.admin()), (&b"ben"[..], Some(&b"postmgr"[..])));
        let same = Identity::parse_star(b"Ben*bEN");
        assert_eq!((same.user(), same.admin()), (&b"bEN"[..], None), "the one whose password is checked");
        let plain = Identity::parse_star(b"ben");
        assert_eq!((plain.user(), plain.admin()), (&b"ben"[..], None));
    }

    #[test]
    fn names_and_passwords_to_try() {
        let names = |name: &'static [u8]| names_to_try(name).map(Cow::into_owned).collect::<Vec<_>>();
        assert_eq!(names(b"ada"), [b"ada".to_vec()]);
        assert_eq!(names(b"ADA"), [b"ADA".to_vec(), b"ada".to_vec()]);
        let passwords = |password: &'static [u8]| passwords_to_try(password).collect::<Vec<_>>();
        assert_eq!(passwords(b""), Vec::<&[u8]>::new());
        assert_eq!(passwords(b" "), [b" "]);
        assert_eq!(passwords(b"pw"), [b"pw"]);
        assert_eq!(passwords(b" pw"), [&b" pw"[..], b"pw"]);
        assert_eq!(passwords(b"  "), [&b"  "[..], b" "]);
    }
}
