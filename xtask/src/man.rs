//! Man pages and the example of a configuration file, made from the declarations of the command lines and of the settings.

use ailurus_testkit::fuzz::checkout;
use clap_mangen::Man;
use std::fs;
use std::path::PathBuf;

/// Writes the pages to docs/man, and the example to packaging.
pub(crate) fn write() -> Result<(), String> {
    let folder = folder();
    fs::create_dir_all(&folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    let pages = pages().into_iter().map(|(name, text)| (folder.join(name), text));
    for (file, text) in pages.chain([(example(), ailurus_daemon::settings::example().into_bytes())]) {
        fs::write(&file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))?;
        println!("{}", file.display());
    }
    Ok(())
}

fn example() -> PathBuf {
    checkout().join("packaging/ailurus.toml")
}

fn folder() -> PathBuf {
    checkout().join("docs/man")
}

/// Returns the name and text of each page.
fn pages() -> Vec<(String, Vec<u8>)> {
    let mut pages = vec![
        page(ailurus_daemon::cli::imapd_command(), "imapd", "8"),
        page(ailurus_daemon::cli::ipop3d_command(), "ipop3d", "8"),
        page(ailurus_daemon::cli::ipop2d_command(), "ipop2d", "8"),
    ];
    // `ailurus help` has no page.
    let mut ailurus = ailurus_daemon::cli::ailurus_command().disable_help_subcommand(true);
    // Gives subcommands their full names, and options their values.
    ailurus.build();
    for task in ailurus.get_subcommands().filter(|task| !task.is_hide_set()) {
        pages.push(page(task.clone(), &format!("ailurus-{}", task.get_name()), "8"));
    }
    pages.push(page(ailurus, "ailurus", "8"));
    pages.push(("ailurus.toml.5".into(), ailurus_daemon::settings::man_page().into_bytes()));
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
        let kept = fs::read_to_string(example()).unwrap();
        assert!(
            kept == ailurus_daemon::settings::example(),
            "packaging/ailurus.toml is out of date: likewise"
        );
    }
}
