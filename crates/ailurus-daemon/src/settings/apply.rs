//! What the settings change in the surroundings of a user's mailboxes (spec/storage-common.md §3).

use super::{Mode, Settings};
use ailurus_store::{Environment, Restrictions, SharedHomes};
use std::path::{Path, PathBuf};

/// What the process can do to confine a user.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Confinement {
    /// It is root's, and can make the home directory its root.
    Chroot,
    /// It is the user's own, who is at home on this host: names are all that can be restricted.
    Names,
}

impl Settings {
    /// Changes the surroundings of a user's mailboxes as the settings say.
    ///
    /// Where they are in a closed box afterwards, a process that can must make the home that the user had before its root.
    ///
    /// # Errors
    ///
    /// The user has no mailboxes then, instead of the wrong ones: there are mistakes in the settings, the user's directory
    /// of a black box does not exist, or the home is no directory to be confined to.
    pub fn apply(&self, environment: &mut Environment, confinement: Confinement) -> Result<(), String> {
        if let Some(refusal) = self.refusal() {
            return Err(refusal);
        }
        set(&mut environment.restrictions, self.restrictions);
        set(&mut environment.dot_lock_timeout, self.dot_lock_timeout);
        set(&mut environment.advertise, self.advertise);
        self.apply_homes(&mut environment.shared);
        set(&mut environment.mbox_as_inbox, self.mbox_inbox);
        set(&mut environment.news.active, self.news_active.clone());
        set(&mut environment.news.spool, self.news_spool.clone());
        if let Some(spool) = &self.spool {
            environment.spool = spool.of(&environment.user, &environment.home);
        }
        if let Some(black_box) = &self.black_box {
            environment.home = self.black_box_home(black_box, &environment.user)?;
            environment.mode = ailurus_store::Mode::BlackBox(black_box.clone());
        }
        if self.closed_box == Some(true) {
            close_box(environment, confinement)?;
        }
        environment.mailbox_dir.clone_from(&environment.home);
        self.apply_users(environment);
        Ok(())
    }

    /// Changes the surroundings of the anonymous user, who has no mailboxes of its own.
    pub fn apply_anonymous(&self, environment: &mut Environment) {
        set(&mut environment.dot_lock_timeout, self.dot_lock_timeout);
        self.apply_homes(&mut environment.shared);
        environment.shared.shared = None;
        set(&mut environment.news.active, self.news_active.clone());
        set(&mut environment.news.spool, self.news_spool.clone());
        set(&mut environment.hide_dot_files, self.hide_dot_files);
        set(&mut environment.list_depth, self.list_depth);
    }

    /// Changes what a user may change as well.
    pub(super) fn apply_users(&self, environment: &mut Environment) {
        if let Some(directory) = &self.subdirectory {
            environment.mailbox_dir = environment.home.join(directory);
            environment.mail_subdirectory = Some(directory.clone());
        }
        if environment.mode != ailurus_store::Mode::Open {
            environment.spool = environment.mailbox_dir.join("INBOX");
        }
        set(&mut environment.create_format, self.create_format);
        set(&mut environment.empty_format, self.empty_format);
        set(&mut environment.default_keywords, self.keywords.clone());
        set(&mut environment.from_widget_header_only, self.header_only);
        set(&mut environment.hide_dot_files, self.hide_dot_files);
        set(&mut environment.list_depth, self.list_depth);
        let below_home = |path: &Option<PathBuf>| path.as_ref().map(|path| Some(environment.home.join(path)));
        let (mh_path, news_state) = (below_home(&self.mh_path), below_home(&self.news_state));
        set(&mut environment.mh_path, mh_path);
        set(&mut environment.mh_allow_inbox, self.mh_inbox);
        set(&mut environment.news.state, news_state);
        self.apply_modes(environment);
    }

    fn apply_homes(&self, shared: &mut SharedHomes) {
        if self.automatic == Some(false) {
            *shared = SharedHomes::default();
        }
        let [ftp, public, of_shared] = &self.homes;
        set(&mut shared.ftp, ftp.clone());
        set(&mut shared.public, public.clone());
        set(&mut shared.shared, of_shared.clone());
    }

    fn apply_modes(&self, environment: &mut Environment) {
        let modes = &mut environment.protections;
        for which in Mode::ALL {
            let target = match which {
                Mode::Mailbox => &mut modes.mailbox,
                Mode::Directory => &mut modes.directory,
                Mode::Lock => &mut modes.lock,
                Mode::Ftp => &mut modes.ftp.0,
                Mode::FtpDirectory => &mut modes.ftp.1,
                Mode::Public => &mut modes.public.0,
                Mode::PublicDirectory => &mut modes.public.1,
                Mode::Shared => &mut modes.shared.0,
                Mode::SharedDirectory => &mut modes.shared.1,
            };
            set(target, self.modes[which as usize]);
        }
    }

    fn black_box_home(&self, black_box: &Path, user: &str) -> Result<PathBuf, String> {
        let own = black_box.join(user);
        let home =
            [Some(&own), self.black_box_default.as_ref()].into_iter().flatten().find(|home| home.is_dir());
        home.cloned().ok_or_else(|| format!("no such black box directory: {}", own.display()))
    }
}

/// Inside, the home directory is the root; nothing outside is there to be named. Where there is no inside, the same
/// mailboxes have the same locks, and nothing outside may be named.
fn close_box(environment: &mut Environment, confinement: Confinement) -> Result<(), String> {
    let home = std::fs::canonicalize(&environment.home).ok().filter(|home| home.is_dir());
    match home {
        Some(home) if home != Path::new("/") => {}
        _ => return Err(format!("no directory to be confined to: {}", environment.home.display())),
    }
    match confinement {
        Confinement::Chroot => environment.home = "/".into(),
        Confinement::Names => environment.restrictions = Restrictions::all(),
    }
    environment.mode = ailurus_store::Mode::ClosedBox;
    environment.lock_dir.clone_from(&environment.home);
    environment.shared = SharedHomes::default();
    Ok(())
}

fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}
