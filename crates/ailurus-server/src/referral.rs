//! Users and mailboxes that have moved to other servers (RFC 2193, RFC 2221): tables that name where they are now.

use std::fmt;

/// Who and what has moved, and where to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Referrals {
    /// Users, by their names here.
    pub users: Vec<(String, ImapUrl)>,
    /// Mailboxes, with all that is below them: by their names here, a `/` at the end does not count.
    pub mailboxes: Vec<(String, ImapUrl)>,
}

impl Referrals {
    /// Returns where a user has moved, as a client is told.
    #[must_use]
    pub fn user(&self, name: &[u8]) -> Option<String> {
        let exact = self.users.iter().find(|(known, _)| known.as_bytes() == name);
        let found = exact
            .or_else(|| self.users.iter().find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name)));
        found.map(|(known, url)| url.for_user(known.as_bytes(), b""))
    }

    /// Returns where a mailbox has moved, for this user: the longest name in the table counts.
    #[must_use]
    pub fn mailbox(&self, user: &[u8], name: &[u8]) -> Option<String> {
        let moved = self.mailboxes.iter().filter_map(|(known, url)| {
            let known = known.strip_suffix('/').unwrap_or(known).as_bytes();
            let rest = match name.strip_prefix(known) {
                Some(rest) if rest.is_empty() || rest.starts_with(b"/") => rest,
                _ if known.eq_ignore_ascii_case(b"INBOX") && known.eq_ignore_ascii_case(name) => b"",
                _ => return None,
            };
            Some((known.len(), url, rest))
        });
        moved.max_by_key(|(len, ..)| *len).map(|(_, url, rest)| url.for_user(user, rest))
    }

    /// Tells whether a mailbox has moved.
    #[must_use]
    pub fn has_moved(&self, name: &[u8]) -> bool {
        !self.mailboxes.is_empty() && self.mailbox(b"", name).is_some()
    }

    /// Returns the names of the table, without a `/` at the end.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.mailboxes.iter().map(|(name, _)| name.strip_suffix('/').unwrap_or(name).as_bytes())
    }
}

/// The URL of an IMAP server, or of a mailbox there (RFC 2192): `imap://host/` or `imap://host/path`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ImapUrl {
    scheme: &'static str,
    /// `user;AUTH=x` where that is said.
    user: Option<String>,
    /// Host and port.
    server: String,
    /// What follows the `/`, encoded.
    path: String,
}

impl ImapUrl {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("{why}: {text}"));
        let Some((scheme, rest)) = text.split_once("://") else {
            return wrong("a URL that starts with imap:// or imaps:// is wanted, not");
        };
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "imap" => "imap",
            "imaps" => "imaps",
            _ => return wrong("a URL that starts with imap:// or imaps:// is wanted, not"),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, server) = match authority.rsplit_once('@') {
            Some((user, server)) => (Some(user), server),
            None => (None, authority),
        };
        let (host, port) = match server.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (server, None),
        };
        let good_host = !host.is_empty()
            && host.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-'));
        if !good_host {
            return wrong("no host name in the URL");
        }
        if port.is_some_and(|port| {
            !port.bytes().all(|octet| octet.is_ascii_digit()) || port.parse::<u16>().is_err()
        }) {
            return wrong("no port number in the URL");
        }
        // Whatever else would end the response code, or start another line.
        let good = |text: &str| {
            text.bytes().all(|octet| {
                octet.is_ascii_graphic()
                    && !matches!(octet, b'"' | b'<' | b'>' | b'[' | b']' | b'\\' | b'{' | b'}')
            })
        };
        if !(good(path) && user.is_none_or(|user| !user.is_empty() && good(user))) {
            return wrong("a space, bracket, quotation mark or the like has to be written as %XX in the URL");
        }
        Ok(Self { scheme, user: user.map(str::to_owned), server: server.into(), path: path.into() })
    }

    /// Returns the URL for a user, and what is below it. RFC 2193 §4: with `user;AUTH=*`, or clients would go there as anonymous.
    #[must_use]
    pub fn for_user(&self, user: &[u8], below: &[u8]) -> String {
        let Self { scheme, server, path, .. } = self;
        let user = match &self.user {
            Some(user) => format!("{user}@"),
            None if user.is_empty() => String::new(),
            None => format!("{};AUTH=*@", encoded(user, b"")),
        };
        let below = encoded(&in_unicode(below), b"/");
        let below = if path.is_empty() || path.ends_with('/') {
            below.strip_prefix('/').unwrap_or(&below)
        } else {
            &below
        };
        format!("{scheme}://{user}{server}/{path}{below}")
    }
}

impl fmt::Display for ImapUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.for_user(b"", b""))
    }
}

/// Returns the URL of a mailbox of this very server.
pub(crate) fn url_of(host: &str, user: &[u8], name: &[u8]) -> String {
    format!("imap://{};AUTH=*@{host}/{}", encoded(user, b""), encoded(&in_unicode(name), b"/"))
}

/// RFC 2192 §6: names are UTF-8 in a URL, whatever they are in the protocol.
fn in_unicode(name: &[u8]) -> Vec<u8> {
    ailurus_charset::utf7::decode(name).map_or_else(|_| name.to_vec(), String::into_bytes)
}

fn encoded(octets: &[u8], also: &[u8]) -> String {
    let mut text = String::new();
    for octet in octets {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(octet) || also.contains(octet) {
            text.push(char::from(*octet));
        } else {
            text.push_str(&format!("%{octet:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> ImapUrl {
        ImapUrl::parse(text).expect("a URL")
    }

    #[test]
    fn urls_are_checked() {
        for good in ["imap://a", "IMAP://Server2/", "imaps://a-b.c:993/x/y%20z", "imap://u;AUTH=*@a/b"] {
            assert!(ImapUrl::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a",
            "http://a/",
            "imap:/a",
            "imap://",
            "imap:///x",
            "imap://a:x/",
            "imap://a:99999/",
            "imap://a b/",
            "imap://a/x y",
            "imap://a/x]",
            "imap://[::1]/",
            "imap://a/\r\nb",
            "imap://a/\"",
            "imap://@a/",
            "imap://a:/",
            "imap://a/é",
        ] {
            assert!(ImapUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_lead_to_urls() {
        let referrals = Referrals {
            users: vec![
                ("ada".into(), url("imap://server2/")),
                ("b c".into(), url("imap://x;AUTH=*@server2")),
            ],
            mailboxes: vec![
                ("old".into(), url("imap://server3/archive")),
                ("old/new/".into(), url("imap://server4:1143/")),
                ("inbox".into(), url("imap://server5/INBOX")),
            ],
        };
        let user = |name: &str| referrals.user(name.as_bytes());
        assert_eq!(user("ADA").as_deref(), Some("imap://ada;AUTH=*@server2/"));
        assert_eq!(user("b c").as_deref(), Some("imap://x;AUTH=*@server2/"));
        assert_eq!(user("ad"), None);
        let mailbox = |name: &str| referrals.mailbox(b"a/b", name.as_bytes());
        assert_eq!(mailbox("old").as_deref(), Some("imap://a%2Fb;AUTH=*@server3/archive"));
        assert_eq!(
            mailbox("old/a b&AOk-/]c").as_deref(),
            Some("imap://a%2Fb;AUTH=*@server3/archive/a%20b%C3%A9/%5Dc")
        );
        assert_eq!(mailbox("old/new/x").as_deref(), Some("imap://a%2Fb;AUTH=*@server4:1143/x"));
        assert_eq!(mailbox("INBOX").as_deref(), Some("imap://a%2Fb;AUTH=*@server5/INBOX"));
        assert!(
            referrals.has_moved(b"old/x") && !referrals.has_moved(b"older") && !referrals.has_moved(b"ol")
        );
        assert_eq!(url_of("here", b"ada", b"a b"), "imap://ada;AUTH=*@here/a%20b");
    }
}
