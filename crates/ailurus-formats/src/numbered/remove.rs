//! Removing the message that was meant.

use super::incoming::place;
use super::{FileId, Folder, GONE, Names};
use crate::disk::Disk;
use crate::files::rename_free;
use std::io;
use std::path::Path;

/// What became of a message that was to be removed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Removed {
    /// It is gone, and it was that one.
    Yes,
    /// It was gone already, or has another number, or is another file: nothing was removed.
    NotThere,
}

/// Removes a message if its number still names that file.
///
/// Between a look and an unlink the number could become that of another message. So the file is moved aside first, where
/// nobody changes what it is; one that turns out to be another is put back.
pub(crate) fn remove(disk: &dyn Disk, folder: &Folder, number: u32, id: &FileId) -> io::Result<Removed> {
    if folder.look(number)?.is_none_or(|look| !look.id.is_like(id)) {
        return Ok(Removed::NotThere);
    }
    let aside = folder.path().join(aside_name(number, id));
    match rename_free(disk, &folder.file(number), &aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Removed::NotThere),
        moved => moved?,
    }
    if is(&aside, id) {
        return disk.remove(&aside).map(|()| Removed::Yes);
    }
    put_back(disk, folder.path(), &aside, number)?;
    Ok(Removed::NotThere)
}

/// Finishes what a dead process began; `true` if a message was put back.
pub(super) fn settle(disk: &dyn Disk, directory: &Path, path: &Path) -> io::Result<bool> {
    let Some((number, id)) = path.file_name().and_then(|name| parse(name.as_encoded_bytes())) else {
        return Ok(false);
    };
    if is(path, &id) {
        return disk.remove(path).map(|()| false);
    }
    put_back(disk, directory, path, number).map(|()| true)
}

/// Gives a message back its number, or a new one if somebody else has it by now.
fn put_back(disk: &dyn Disk, directory: &Path, aside: &Path, number: u32) -> io::Result<()> {
    let names = Names::read(directory)?;
    let taken = names.numbers.binary_search(&number).is_ok();
    let wanted = if taken { names.highest().saturating_add(1) } else { number };
    place(disk, directory, aside, wanted).map(drop)
}

fn is(path: &Path, id: &FileId) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && FileId::of(&found).is_like(id))
}

/// The name says which file was meant: `.ailurus-gone.NUMBER.INODE.SIZE.SECONDS.NANOSECONDS`.
fn aside_name(number: u32, id: &FileId) -> String {
    let FileId { inode, size, modified: (seconds, nanoseconds), .. } = id;
    format!("{GONE}{number}.{inode}.{size}.{seconds}.{nanoseconds}")
}

fn parse(name: &[u8]) -> Option<(u32, FileId)> {
    let mut fields = std::str::from_utf8(name).ok()?.strip_prefix(GONE)?.split('.');
    let number = fields.next()?.parse().ok()?;
    let (inode, size) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let modified = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    fields.next().is_none().then_some((number, FileId { inode, size, modified, changed: 0 }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Os;
    use crate::numbered::tidy;
    use std::fs;

    fn id(folder: &Folder, number: u32) -> FileId {
        folder.look(number).unwrap().unwrap().id
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn only_the_message_that_was_meant_is_removed() {
        let scratch = tempfile::tempdir().unwrap();
        for name in ["1", "2"] {
            fs::write(scratch.path().join(name), name).unwrap();
        }
        let folder = Folder::open(scratch.path()).unwrap();
        let (one, two) = (id(&folder, 1), id(&folder, 2));
        // folder -pack after message 1 was removed.
        fs::rename(scratch.path().join("2"), scratch.path().join("1")).unwrap();
        assert_eq!(remove(&Os, &folder, 1, &one).unwrap(), Removed::NotThere);
        assert_eq!(remove(&Os, &folder, 2, &two).unwrap(), Removed::NotThere);
        assert_eq!(names(scratch.path()), ["1"]);
        assert_eq!(remove(&Os, &folder, 1, &two).unwrap(), Removed::Yes);
        assert!(names(scratch.path()).is_empty());
    }

    #[test]
    fn what_was_moved_aside_by_a_dead_process_is_removed_or_put_back() {
        for is_it in [false, true] {
            let scratch = tempfile::tempdir().unwrap();
            fs::write(scratch.path().join("7"), "seven").unwrap();
            let folder = Folder::open(scratch.path()).unwrap();
            let mut meant = id(&folder, 7);
            meant.inode += u64::from(!is_it);
            fs::rename(folder.file(7), scratch.path().join(aside_name(7, &meant))).unwrap();
            fs::write(scratch.path().join("7"), "another").unwrap();
            fs::write(scratch.path().join("9"), "nine").unwrap();
            let leftovers = Names::read(scratch.path()).unwrap().leftovers;
            assert_eq!(leftovers.len(), 1);
            assert_eq!(tidy(&Os, scratch.path(), &leftovers).unwrap(), !is_it);
            let expected: &[&str] = if is_it { &["7", "9"] } else { &["10", "7", "9"] };
            assert_eq!(names(scratch.path()), expected);
        }
    }

    #[test]
    fn names_of_others_are_no_work_of_ours() {
        let id = FileId { inode: u64::MAX, size: 3, modified: (-4, 5), changed: 0 };
        assert_eq!(parse(aside_name(2, &id).as_bytes()), Some((2, id)));
        for name in [".ailurus-gone.", ".ailurus-gone.1.2.3.4", ".ailurus-gone.1.2.3.4.5.6", "1"] {
            assert_eq!(parse(name.as_bytes()), None, "{name}");
        }
    }
}
