//! Who the smoke test runs things as: users of the runtime image, and what its container must be told of those that the image
//! does not know. Programs ask who they are (getpwuid(3)), and give up when nobody can say.

use std::collections::BTreeMap;

use super::container::OWNER;
use super::error::AccountsError;
use crate::check::{User, accounts_text};
use crate::config::{Invocation, Smoke};
use crate::language::HOME_ROOT;
use crate::name::EnvironmentName;
use crate::owner::Owner;
use crate::rootfs::RootFs;

/// What [`OWNER`] is called where the image has no name for it.
const NAME: &str = "lockstep";
/// Where users are (passwd(5)), and groups (group(5)).
const FILES: [&str; 2] = ["/etc/passwd", "/etc/group"];
/// How many names are tried for one that is free.
const NAMES_LIMIT_COUNT: u32 = 1000;

/// Who is who in a smoke container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Accounts {
    /// The users that steps name.
    pub(super) users: BTreeMap<String, Owner>,
    /// The contents of `passwd` and `group`, where the image's do not have everybody.
    pub(super) files: Option<[String; 2]>,
}

impl Accounts {
    /// Who is started: whom it names, else who everybody is.
    pub(super) fn owner_of(&self, started: Option<&Invocation>) -> Owner {
        let named = started.and_then(|invocation| invocation.user.as_ref());
        named.and_then(|name| self.users.get(name)).copied().unwrap_or(OWNER)
    }
}

/// Who is who in a container of the image with this root.
pub(super) fn accounts(
    environment: &EnvironmentName,
    root: &dyn RootFs,
    smoke: Option<&Smoke>,
) -> Result<Accounts, AccountsError> {
    let texts = FILES.map(|path| accounts_text(root, path));
    let mut users = BTreeMap::new();
    let named = smoke.into_iter().flat_map(Smoke::invocations);
    for name in named.filter_map(|invocation| invocation.user.as_ref()) {
        users.insert(name.clone(), resolve(environment, root, &texts[0], name)?);
    }
    let mut everybody: Vec<Owner> = std::iter::once(OWNER).chain(users.values().copied()).collect();
    everybody.dedup();
    let mut told = texts.clone();
    for owner in everybody {
        tell(&mut told, owner);
    }
    let files = (told != texts).then_some(told);
    Ok(Accounts { users, files })
}

fn resolve(environment: &EnvironmentName, root: &dyn RootFs, passwd: &str, name: &str) -> Result<Owner, AccountsError> {
    let unknown = || AccountsError::Unknown {
        environment: environment.clone(),
        name: name.to_owned(),
        known: names(passwd),
    };
    let user = User::resolve(name, root).map_err(|_| unknown())?;
    let is_known = has_number(passwd, user.id);
    let owner = Owner {
        uid: user.id,
        // A number that the image does not know has a group of its own.
        gid: if is_known { user.group } else { user.id },
    };
    if owner.uid == 0 || owner.gid == 0 {
        return Err(AccountsError::Root {
            environment: environment.clone(),
            name: name.to_owned(),
        });
    }
    Ok(owner)
}

/// Adds what is not said of a user and its group.
fn tell([passwd, group]: &mut [String; 2], owner: Owner) {
    let Owner { uid, gid } = owner;
    if !has_number(passwd, uid) {
        let name = free_name(passwd, uid);
        push_line(passwd, &format!("{name}:x:{uid}:{gid}:{name}:{HOME_ROOT}:/bin/sh"));
    }
    if !has_number(group, gid) {
        let name = free_name(group, gid);
        push_line(group, &format!("{name}:x:{gid}:"));
    }
}

fn push_line(text: &mut String, line: &str) {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(line);
    text.push('\n');
}

/// The fields of each line.
fn entries(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split(':').collect())
}

fn has_number(text: &str, number: u32) -> bool {
    entries(text).any(|entry| entry.get(2).and_then(|field| field.parse().ok()) == Some(number))
}

/// A name that nobody has.
fn free_name(text: &str, number: u32) -> String {
    let is_free = |name: &String| entries(text).all(|entry| entry.first() != Some(&name.as_str()));
    let first = match number == OWNER.uid {
        true => NAME.to_owned(),
        false => format!("{NAME}-{number}"),
    };
    let others = (1..NAMES_LIMIT_COUNT).map(|place| format!("{NAME}-{number}-{place}"));
    let found = std::iter::once(first.clone()).chain(others).find(is_free);
    found.unwrap_or(first)
}

/// The names that there are, but root's.
fn names(passwd: &str) -> String {
    const SHOWN: usize = 8;
    let all: Vec<String> = entries(passwd)
        .filter(|entry| entry.len() > 2 && entry[0] != "root")
        .map(|entry| format!("`{}`", entry[0].escape_debug()))
        .collect();
    match all.len() {
        0 => "no others than root".to_owned(),
        // Those that a package has made come last.
        count if count > SHOWN => format!("…, {}", all[count - SHOWN..].join(", ")),
        _ => all.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{Expectation, Invocation, Step, StepKind};
    use crate::rootfs::DirectoryRoot;

    const PASSWD: &str =
        "root:x:0:0::/root:/bin/sh\nadmin:x:0:0::/:/bin/sh\npostgres:x:105:109::/var/lib/postgresql:/bin/sh\n";
    const GROUP: &str = "root:x:0:\npostgres:x:109:";

    fn smoke(users: &[&str]) -> Smoke {
        let step = |user: &&str| Step {
            invocation: Invocation {
                command: vec!["x".to_owned()],
                env: BTreeMap::new(),
                user: Some((*user).to_owned()),
                cwd: None,
                stdin: None,
                timeout: Duration::from_secs(1),
            },
            writable: vec![],
            exec: false,
            kind: StepKind::Command(Expectation::default()),
        };
        Smoke {
            steps: users.iter().map(step).collect(),
        }
    }

    fn of(passwd: &str, group: &str, users: &[&str]) -> Result<Accounts, AccountsError> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("etc")).unwrap();
        for (name, text) in [("passwd", passwd), ("group", group)] {
            if !text.is_empty() {
                std::fs::write(directory.path().join("etc").join(name), text).unwrap();
            }
        }
        let root = DirectoryRoot::open(directory.path()).unwrap();
        accounts(&EnvironmentName::new("glibc").unwrap(), &root, Some(&smoke(users)))
    }

    #[test]
    fn what_the_image_does_not_say_is_added() {
        let told = of(PASSWD, GROUP, &["postgres", "7"]).unwrap();
        let owner = |uid, gid| Owner { uid, gid };
        assert_eq!(
            told.users,
            [("7".to_owned(), owner(7, 7)), ("postgres".to_owned(), owner(105, 109))].into()
        );
        let own = "lockstep:x:1000:1000:lockstep:/lockstep/home:/bin/sh\n";
        let other = "lockstep-7:x:7:7:lockstep-7:/lockstep/home:/bin/sh\n";
        let groups = format!("{GROUP}\nlockstep:x:1000:\nlockstep-7:x:7:\n");
        let owner_of = |smoke: Smoke| told.owner_of(Some(&smoke.steps[0].invocation));
        assert_eq!(owner_of(smoke(&["postgres"])), owner(105, 109));
        assert_eq!(told.owner_of(None), OWNER);
        assert_eq!(told.files, Some([format!("{PASSWD}{own}{other}"), groups]));
        assert_eq!(of("", "", &[]).unwrap().files.unwrap(), [own, "lockstep:x:1000:\n"]);
    }

    #[test]
    fn an_image_that_knows_everybody_stays_as_it_is() {
        let passwd = "me:x:1000:1000::/home/me:/bin/sh\n";
        let told = of(passwd, "me:x:1000:\n", &["me", "1000"]).unwrap();
        assert_eq!((told.files, told.users.len()), (None, 2));
        // A name that somebody else has is not given twice.
        let taken = of("lockstep:x:5:5::/:/bin/sh\n", "me:x:1000:\n", &[]).unwrap();
        assert!(taken.files.unwrap()[0].contains("\nlockstep-1000-1:x:1000:1000:"));
    }

    #[test]
    fn users_that_there_are_not_are_told_with_those_that_there_are() {
        let error = of(PASSWD, GROUP, &["postgresql"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the runtime image of glibc has no user `postgresql`, as which the smoke test runs a step"
        );
        assert!(error.hint().contains("`postgres`"), "{}", error.hint());
        assert!(matches!(of(PASSWD, GROUP, &["admin"]), Err(AccountsError::Root { .. })));
    }
}
