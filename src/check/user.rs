//! Who a process runs as, and what that lets it open (path_resolution(7), credentials(7)).

use std::fmt;

use crate::owner::Owner;
use crate::rootfs::{FileKind, Found, RootFs};

/// Nobody has longer lists of users.
const ACCOUNTS_LIMIT_BYTES: u64 = 4 * 1024 * 1024;
/// No kernel has more groups of one process (`NGROUPS_MAX`).
const GROUPS_LIMIT_COUNT: usize = 65_536;

/// The user and the groups of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its number.
    pub id: u32,
    /// Its own group.
    pub group: u32,
    /// What other groups it is in.
    pub others: Vec<u32>,
}

/// Why there is no such user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserError {
    /// No user has the name, or no number is as large.
    NoUser(String),
    /// No group has.
    NoGroup(String),
}

impl fmt::Display for UserError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUser(name) => write!(formatter, "/etc/passwd has no user `{name}`"),
            Self::NoGroup(name) => write!(formatter, "/etc/group has no group `{name}`"),
        }
    }
}

impl std::error::Error for UserError {}

/// As evidence names it.
impl fmt::Display for User {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "user {} of group {}", self.id, self.group)
    }
}

/// What is done with a file; the bit is the one for everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read = 0o4,
    /// Of a directory: to open what is in it.
    Execute = 0o1,
}

impl User {
    /// Who may read everything.
    pub(super) const ROOT: Self = Self {
        id: 0,
        group: 0,
        others: vec![],
    };

    /// The one that a container's process has by `USER[:GROUP]`, names or numbers, as engines read it: a name must be in the
    /// root's `passwd(5)`, a number need not. Nothing means root.
    ///
    /// # Errors
    /// [`UserError`] for a name that is not there and a number that none can have.
    pub fn resolve(text: &str, root: &dyn RootFs) -> Result<Self, UserError> {
        let (name, group) = text.split_once(':').unwrap_or((text, ""));
        let name = if name.is_empty() { "0" } else { name };
        let accounts = accounts_text(root, "/etc/passwd");
        let entry = entry_of(&accounts, name);
        let field = |place: usize| entry.as_ref().and_then(|entry| number(entry.get(place)?));
        let mut user = Self {
            id: field(2)
                .or_else(|| number(name))
                .ok_or_else(|| UserError::NoUser(name.to_owned()))?,
            group: field(3).unwrap_or(0),
            others: vec![],
        };
        let groups = accounts_text(root, "/etc/group");
        if !group.is_empty() {
            user.group = entry_of(&groups, group)
                .and_then(|entry| number(entry.get(2)?))
                .or_else(|| number(group))
                .ok_or_else(|| UserError::NoGroup(group.to_owned()))?;
        } else if let Some(own_name) = entry.as_ref().and_then(|entry| entry.first()) {
            let is_member = |entry: &Entry<'_>| {
                entry
                    .get(3)
                    .is_some_and(|list| list.split(',').any(|name| name == *own_name))
            };
            let others = entries(&groups)
                .filter(is_member)
                .filter_map(|entry| number(entry.get(2)?));
            user.others = others.take(GROUPS_LIMIT_COUNT).collect();
        }
        Ok(user)
    }

    /// The one that this program runs as.
    #[must_use]
    pub fn current() -> Self {
        Self {
            id: rustix::process::geteuid().as_raw(),
            group: rustix::process::getegid().as_raw(),
            others: rustix::process::getgroups()
                .unwrap_or_default()
                .iter()
                .map(|group| group.as_raw())
                .collect(),
        }
    }

    /// Whether a file's permissions let the user do something with it. Root needs none, but to execute what nobody may.
    pub(super) fn may(&self, access: Access, found: &Found) -> bool {
        let bit = access as u32;
        if self.id == 0 {
            return access == Access::Read || found.kind == FileKind::Directory || found.mode & 0o111 != 0;
        }
        // The first class that the user is in counts, and no other.
        let shift = if found.owner.uid == self.id {
            6
        } else if found.owner.gid == self.group || self.others.contains(&found.owner.gid) {
            3
        } else {
            0
        };
        found.mode >> shift & bit != 0
    }
}

/// A file or directory whose permissions are in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Obstacle {
    path: String,
    mode: u32,
    owner: Owner,
    /// What is missing.
    access: Access,
}

impl Obstacle {
    /// The command that removes it.
    pub(super) fn remedy(&self) -> String {
        let letter = match self.access {
            Access::Read => 'r',
            Access::Execute => 'x',
        };
        format!("chmod a+{letter} {}", self.path)
    }
}

/// As evidence tells it.
impl fmt::Display for Obstacle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Owner { uid, gid } = self.owner;
        write!(
            formatter,
            "{} has the mode {:04o}, of user {uid} and group {gid}",
            self.path, self.mode
        )
    }
}

/// What keeps a process from opening a file for something: a directory that it may not pass through, or the file
/// itself. If nobody knows who it runs as, that may be root, and only what root may not do either is kept from it.
///
/// Directories count where the path ends up; those that links on the way lead through do not.
pub(super) fn obstacle(root: &dyn RootFs, user: Option<&User>, access: Access, found: &Found) -> Option<Obstacle> {
    let root_user = User::ROOT;
    let user = user.unwrap_or(&root_user);
    first_obstacle(root, access, found, |access, found| user.may(access, found))
}

/// The same for somebody who is neither an owner nor in any group: what keeps everybody else from it may keep the host.
pub(super) fn obstacle_for_others(root: &dyn RootFs, access: Access, found: &Found) -> Option<Obstacle> {
    first_obstacle(root, access, found, |access, found| found.mode & access as u32 != 0)
}

fn first_obstacle(
    root: &dyn RootFs,
    access: Access,
    found: &Found,
    may: impl Fn(Access, &Found) -> bool,
) -> Option<Obstacle> {
    let shown = |path: &str, found: &Found, access: Access| Obstacle {
        path: path.to_owned(),
        mode: found.mode,
        owner: found.owner,
        access,
    };
    for (place, _) in found.path.match_indices('/').skip(1) {
        let directory = &found.path[..place];
        // Those of files that were put in are not there.
        if let Some(there) = root.look(directory).ok().filter(|there| !may(Access::Execute, there)) {
            return Some(shown(directory, &there, Access::Execute));
        }
    }
    (!may(access, found)).then(|| shown(&found.path, found, access))
}

/// A line of `passwd(5)` or `group(5)`: a name, a password, a number, and more.
type Entry<'t> = Vec<&'t str>;

fn entries(text: &str) -> impl Iterator<Item = Entry<'_>> {
    text.lines().map(|line| line.split(':').collect())
}

/// The entry of a name or a number; what is a number is never a name.
fn entry_of<'t>(text: &'t str, name: &str) -> Option<Entry<'t>> {
    entries(text).find(|entry| match atoi(name) {
        Some(number) => entry.get(2).and_then(|field| atoi(field)) == Some(number),
        None => entry.first() == Some(&name),
    })
}

/// A file of users or groups; empty where there is none.
pub(crate) fn accounts_text(root: &dyn RootFs, path: &str) -> String {
    let bytes = root
        .look(path)
        .ok()
        .and_then(|found| root.bytes(&found, ACCOUNTS_LIMIT_BYTES));
    bytes.map_or_else(String::new, |bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// A number as engines read it: with a sign, perhaps, and zeros before it.
fn atoi(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// A user's or a group's number; engines take none that is negative in 32 bits.
fn number(text: &str) -> Option<u32> {
    let number = u32::try_from(atoi(text)?).ok()?;
    (number <= i32::MAX as u32).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::DirectoryRoot;

    fn root() -> (tempfile::TempDir, DirectoryRoot) {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("etc")).unwrap();
        let accounts = "root:x:0:0::/root:/bin/sh\napp:x:1000:2000::/app:/bin/sh\n77:x:7:8::/:/bin/sh\nbroken\n";
        std::fs::write(directory.path().join("etc/passwd"), accounts).unwrap();
        let groups = "root:x:0:\napp:x:2000:\nmedia:x:50:other,app\nsound:x:51:application\nvideo:x:52:app\n";
        std::fs::write(directory.path().join("etc/group"), groups).unwrap();
        let root = DirectoryRoot::open(directory.path()).unwrap();
        (directory, root)
    }

    #[test]
    fn users_are_read_as_engines_read_them() {
        let (_directory, root) = root();
        let user = |id, group, others: &[u32]| {
            Ok(User {
                id,
                group,
                others: others.to_vec(),
            })
        };
        let check = |text: &str, expected: Result<User, UserError>| {
            assert_eq!(User::resolve(text, &root), expected, "{text}");
        };
        check("", user(0, 0, &[]));
        check("0", user(0, 0, &[]));
        check("root", user(0, 0, &[]));
        check("app", user(1000, 2000, &[50, 52]));
        check("1000", user(1000, 2000, &[50, 52]));
        check("app:media", user(1000, 50, &[]));
        check("app:9", user(1000, 9, &[]));
        check("1234", user(1234, 0, &[]));
        check("1234:2000", user(1234, 2000, &[]));
        check(":media", user(0, 50, &[]));
        // A name of digits is never meant.
        check("77", user(77, 0, &[]));
        check("01000", user(1000, 2000, &[50, 52]));
        check("+1000:+9", user(1000, 9, &[]));
        check("nobody", Err(UserError::NoUser("nobody".to_owned())));
        check("app:nobody", Err(UserError::NoGroup("nobody".to_owned())));
        check("-1", Err(UserError::NoUser("-1".to_owned())));
        check("4294967295", Err(UserError::NoUser("4294967295".to_owned())));
    }

    fn file(mode: u32, uid: u32, gid: u32) -> Found {
        Found {
            id: (0, 0),
            path: "/file".to_owned(),
            kind: FileKind::File,
            len: 0,
            mode,
            owner: Owner { uid, gid },
        }
    }

    #[test]
    fn the_first_class_that_a_user_is_in_decides() {
        let user = User {
            id: 1000,
            group: 2000,
            others: vec![50],
        };
        let check = |mode, owner, group, expected| {
            let found = file(mode, owner, group);
            assert_eq!(user.may(Access::Read, &found), expected, "{mode:o} {owner}:{group}");
        };
        check(0o400, 1000, 0, true);
        check(0o044, 1000, 2000, false);
        check(0o040, 0, 2000, true);
        check(0o040, 0, 50, true);
        check(0o404, 0, 50, false);
        check(0o004, 0, 0, true);
        check(0o640, 0, 0, false);
        assert!(User::ROOT.may(Access::Read, &file(0o000, 1000, 1000)));
        assert!(!User::ROOT.may(Access::Execute, &file(0o666, 0, 0)));
        assert!(User::ROOT.may(Access::Execute, &file(0o010, 1000, 1000)));
    }

    #[test]
    fn directories_are_to_be_passed_through() {
        use std::os::unix::fs::PermissionsExt as _;
        let (directory, root) = root();
        let inner = directory.path().join("srv/inner");
        std::fs::create_dir_all(&inner).unwrap();
        std::fs::write(inner.join("p.so"), "").unwrap();
        let set = |path: &std::path::Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        set(&inner.join("p.so"), 0o644);
        set(&inner, 0o755);
        set(&directory.path().join("srv"), 0o700);
        let found = root.look("/srv/inner/p.so").unwrap();
        let stranger = User {
            id: found.owner.uid + 1,
            group: found.owner.gid + 1,
            others: vec![],
        };
        let path = "/srv has the mode 0700, of user ";
        let told = obstacle(&root, Some(&stranger), Access::Read, &found);
        let said = told
            .as_ref()
            .map(|told| (told.to_string().starts_with(path), told.remedy()));
        assert_eq!(said, Some((true, "chmod a+x /srv".to_owned())), "{told:?}");
        assert_eq!(obstacle_for_others(&root, Access::Read, &found), told);
        assert_eq!(obstacle(&root, None, Access::Read, &found), None);
        let owner = User {
            id: found.owner.uid,
            ..stranger
        };
        assert_eq!(obstacle(&root, Some(&owner), Access::Read, &found), None);
        assert_ne!(obstacle(&root, None, Access::Execute, &found), None);
    }
}
