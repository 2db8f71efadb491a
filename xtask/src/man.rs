//! Man pages, made from the declarations of the command lines.

use ailurus_testkit::fuzz::checkout;
use clap_mangen::Man;
use std::fs;
use std::path::PathBuf;

/// Writes the pages to docs/man.
pub(crate) fn write() -> Result<(), String> {
    let folder = folder();
    fs::create_dir_all(&folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    for (name, text) in pages() {
        let file = folder.join(&name);
        fs::write(&file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))?;
        println!("{}", file.display());
    }
    Ok(())
}

fn folder() -> PathBuf {
    checkout().join("docs/man")
}

/// Returns the name and text of each page.
fn pages() -> Vec<(String, Vec<u8>)> {
    let mut pages = vec![page(ailurus_daemon::cli::imapd_command(), "imapd", "8")];
    let mut ailurus = ailurus_daemon::cli::ailurus_command();
    // Gives subcommands their full names, and options their values.
    ailurus.build();
    for task in ailurus.get_subcommands().filter(|task| !task.is_hide_set() && task.get_name() != "help") {
        pages.push(page(task.clone(), &format!("ailurus-{}", task.get_name()), "8"));
    }
    pages.push(page(ailurus, "ailurus", "8"));
    pages.sort();
    pages
}

fn page(command: clap::Command, name: &str, section: &str) -> (String, Vec<u8>) {
    let mut text = Vec::new();
    let man = Man::new(command.name(name.to_owned()).disable_help_subcommand(true))
        .section(section)
        .manual("Ailurus");
    man.render(&mut text).expect("memory takes it");
    (format!("{name}.{section}"), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_are_current() {
        let mut names: Vec<_> = fs::read_dir(folder())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, pages().into_iter().map(|(name, _)| name).collect::<Vec<_>>());
        for (name, text) in pages() {
            let kept = fs::read(folder().join(&name)).unwrap();
            assert!(kept == text, "docs/man/{name} is out of date: run `cargo run -p xtask -- man`");
        }
    }
}
