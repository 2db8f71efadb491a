//! LIST and LSUB of `#news.…`.

use super::News;
use super::active;
use super::newsrc::Newsrc;
use ailurus_store::{Attributes, Error, ListQuery, Listed, Pattern, Result};

pub(super) const PREFIX: &[u8] = b"#news.";
const MOST_WILDCARDS: usize = 10;

/// Reports the groups of the active file that a query names.
pub(super) fn list(driver: &News, query: &ListQuery<'_>, found: &mut dyn FnMut(Listed)) -> Result<()> {
    let is_root = query.pattern.is_empty();
    let Some(text) = canonical(query.reference, if is_root { b"*" } else { query.pattern })? else {
        return Ok(());
    };
    if is_root {
        report(PREFIX, Attributes::NO_SELECT, found);
        return Ok(());
    }
    let places = &driver.environment.news;
    if !places.spool.exists() {
        return Ok(());
    }
    let pattern = Pattern::with_delimiter(&text, b'.');
    let mut name = PREFIX.to_vec();
    let listed = active::each(&places.active, &mut |group| {
        name.truncate(PREFIX.len());
        name.extend_from_slice(group);
        if pattern.matches(&name) {
            report(&name, Attributes::NONE, found);
        } else if let [head @ .., b'%'] = &text[..] {
            // What is above the group, where the pattern ends; the reference reports it for each group below.
            let dot = name.iter().skip(head.len()).position(|octet| *octet == b'.');
            let above = dot.map(|dot| &name[..head.len() + dot]);
            above.filter(|above| pattern.matches(above)).into_iter().for_each(|above| {
                report(above, Attributes::NO_SELECT, found);
            });
        }
        true
    });
    listed.map_err(Error::io("read", &places.active))
}

/// Reports the groups that are subscribed to.
pub(super) fn lsub(driver: &News, query: &ListQuery<'_>, found: &mut dyn FnMut(Listed)) -> Result<()> {
    let Some(text) = canonical(query.reference, query.pattern)? else { return Ok(()) };
    let pattern = Pattern::with_delimiter(&text, b'.');
    Newsrc::new(&driver.environment, &driver.disk).each(&mut |group, subscribed| {
        if !subscribed {
            return;
        }
        let name = [PREFIX, group].concat();
        if pattern.matches(&name) {
            report(&name, Attributes::NONE, found);
        } else if text.ends_with(b"%") {
            let dots = (PREFIX.len()..name.len()).rev().filter(|at| name[*at] == b'.');
            for above in dots.map(|dot| &name[..dot]).filter(|above| pattern.matches(above)) {
                report(above, Attributes::NO_SELECT, found);
            }
        }
    })
}

fn report(name: &[u8], attributes: Attributes, found: &mut dyn FnMut(Listed)) {
    found(Listed { name: name.into(), delimiter: Some(b'.'), attributes });
}

/// Returns reference and pattern as one pattern; `None` if it is none of newsgroups.
fn canonical(reference: &[u8], pattern: &[u8]) -> Result<Option<Vec<u8>>> {
    let text = match (reference.last(), pattern.first()) {
        (None, _) | (_, Some(b'#')) => pattern.to_vec(),
        (Some(b'.'), Some(b'.')) => [reference, &pattern[1..]].concat(),
        _ => [reference, pattern].concat(),
    };
    if !text.starts_with(PREFIX) || text.contains(&b'/') {
        return Ok(None);
    }
    if text.iter().filter(|octet| matches!(octet, b'*' | b'%')).count() > MOST_WILDCARDS {
        return Err(Error::Refused("Excessive wildcards in LIST/LSUB".into()));
    }
    Ok(Some(text))
}
