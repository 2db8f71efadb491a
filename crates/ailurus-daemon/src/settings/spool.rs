//! Where new mail is, for each user.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The name of a user's spool file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Spool {
    /// As written, for whoever logs in: `system-inbox` of the original.
    Fixed(PathBuf),
    /// With `{user}` and `{home}` for what they are of the user.
    Template(String),
}

impl Spool {
    /// Takes a template: a path with `{user}` in it, or one that starts with `{home}`.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn template(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') && !text.starts_with("{home}/") || text.contains('\0') {
            return Err(format!(
                "neither a path that starts with `/` nor one that starts with `{{home}}/`: {text}"
            ));
        }
        let pieces: Vec<_> = pieces(text).collect();
        if let Some(Piece::Unknown(unknown)) = pieces.iter().find(|piece| matches!(piece, Piece::Unknown(_)))
        {
            return Err(format!("`{unknown}` is neither `{{user}}` nor `{{home}}`"));
        }
        if pieces.iter().skip(1).any(|piece| *piece == Piece::Home) {
            return Err("`{home}` has its place at the start".into());
        }
        if !pieces.iter().any(|piece| matches!(piece, Piece::User | Piece::Home)) {
            return Err(format!("the same file for all users, without `{{user}}` or `{{home}}`: {text}"));
        }
        Ok(Self::Template(text.into()))
    }

    /// Returns the spool file of a user.
    #[must_use]
    pub fn of(&self, user: &str, home: &Path) -> PathBuf {
        match self {
            Self::Fixed(path) => path.clone(),
            Self::Template(text) => {
                let mut path = OsString::new();
                for piece in pieces(text) {
                    match piece {
                        Piece::User => path.push(user),
                        Piece::Home => path.push(home),
                        Piece::Text(text) | Piece::Unknown(text) => path.push(text),
                    }
                }
                path.into()
            }
        }
    }

    /// Returns the directory that all users' spool files are in, if they are in one.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Self::Fixed(path) => path.parent(),
            Self::Template(text) => {
                text.strip_suffix("/{user}").filter(|rest| !rest.contains('{')).map(Path::new)
            }
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Piece<'t> {
    Text(&'t str),
    User,
    Home,
    /// Something in braces, or a brace alone.
    Unknown(&'t str),
}

fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let brace = rest.find(['{', '}']).unwrap_or(rest.len());
        let (piece, length) = if brace > 0 {
            (Piece::Text(&rest[..brace]), brace)
        } else if rest.starts_with("{user}") {
            (Piece::User, "{user}".len())
        } else if rest.starts_with("{home}") {
            (Piece::Home, "{home}".len())
        } else {
            let end = rest.find('}').map_or(rest.len(), |end| end + 1);
            (Piece::Unknown(&rest[..end]), end)
        };
        rest = &rest[length..];
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_name_a_file_for_each_user() {
        let of = |text: &str| {
            let spool = Spool::template(text)?;
            Ok::<_, String>(spool.of("ada", Path::new("/home/ada")).display().to_string())
        };
        assert_eq!(of("/var/mail/{user}").as_deref(), Ok("/var/mail/ada"));
        assert_eq!(of("{home}/Mail/{user}.inbox").as_deref(), Ok("/home/ada/Mail/ada.inbox"));
        for wrong in [
            "",
            "{user}",
            "INBOX",
            "/var/mail/inbox",
            "/var/mail/{users}",
            "/x/{user",
            "/x}{user}",
            "/x{home}/{user}",
        ] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
        assert!(of("/var/mail/{users}").expect_err("unknown").contains("`{users}`"));
    }

    #[test]
    fn a_users_name_is_not_looked_at_for_braces() {
        let spool = Spool::template("{home}/{user}").expect("good");
        assert_eq!(spool.of("{home}", Path::new("/h/{user}")), Path::new("/h/{user}/{home}"));
    }

    #[test]
    fn the_directory_of_spools_is_known() {
        let directory = |text: &str| Spool::template(text).expect("good").directory().map(Path::to_path_buf);
        assert_eq!(directory("/srv/spool/{user}"), Some("/srv/spool".into()));
        assert_eq!(directory("{home}/INBOX"), None);
    }
}
