//! Whether a program starts in secure-execution mode (`AT_SECURE`): it is given rights that whoever starts it has not, and its
//! loader trusts the starter no more than that (execve(2), capabilities(7), ld.so(8)).
//!
//! Source: `cap_bprm_creds_from_file` in `security/commoncap.c` and `bprm_fill_uid` in `fs/exec.c` of Linux 6.18.

use std::fmt;

use super::environment::Environment;
use super::user::User;
use crate::facts::file_capabilities::{Capabilities, FileCapabilities};
use crate::owner::Owner;
use crate::rootfs::{Found, RootFs};

const SET_USER: u32 = 0o4000;
const SET_GROUP: u32 = 0o2000;
/// Without the group's right to execute its bit means something else.
const GROUP_EXECUTES: u32 = 0o0010;

/// What is supposed of whoever starts the host, where nobody said who that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Supposed {
    /// That the program gives nothing that is not there already.
    Entitled,
    /// That it gives all that it has to give.
    Stranger,
}

/// What a program gives to whoever starts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gain {
    /// The owner and the mode, if it changes user or group.
    identity: Option<(u32, Owner)>,
    /// The capabilities, if it has some.
    capabilities: Option<FileCapabilities>,
}

/// Why the kernel does not start a program for anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoStart {
    /// It is to have all of its capabilities, and these are not allowed to any process.
    Dropped(Capabilities),
    /// The attribute says nothing.
    Malformed,
}

/// How a program starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Start {
    /// What it is given; with that it is in secure-execution mode.
    pub gain: Option<Gain>,
    /// Who it goes on as, for what may be read; none if that is not known.
    pub user: Option<User>,
    /// Why it does not start.
    pub refused: Option<NoStart>,
}

impl Start {
    /// How this file starts.
    pub(super) fn of(environment: &Environment, supposed: Supposed, program: &Found, attribute: Option<&[u8]>) -> Self {
        let restrictions = &environment.restrictions;
        let may_change = !restrictions.no_new_privileges && !restrictions.gives_nothing;
        let has = |bits: u32| program.mode & bits == bits && may_change;
        let counts = attribute.filter(|_| !restrictions.gives_nothing);
        let read = counts.map(FileCapabilities::read);
        // Those of another user namespace are none.
        let capabilities = read.flatten().filter(|capabilities| capabilities.root.is_none());
        let granted = capabilities.map_or(Capabilities::default(), |capabilities| {
            capabilities.permitted.without(restrictions.dropped)
        });
        let is_effective = capabilities.is_some_and(|capabilities| capabilities.is_effective);
        let refused = match (read, capabilities) {
            (Some(None), _) => Some(NoStart::Malformed),
            (_, Some(capabilities)) if is_effective && granted != capabilities.permitted => {
                Some(NoStart::Dropped(capabilities.permitted.and(restrictions.dropped)))
            }
            _ => None,
        };
        // The bit that puts them into effect counts even where there are none left to give.
        let gives = is_effective || (!granted.is_empty() && !restrictions.no_new_privileges);
        let (sets_user, sets_group) = (has(SET_USER), has(SET_GROUP | GROUP_EXECUTES));
        let starter = environment.user.as_ref();
        let is_other = |starter: Option<bool>| starter.unwrap_or(supposed == Supposed::Stranger);
        let changes_user = sets_user && is_other(starter.map(|user| user.id != program.owner.uid));
        let changes_group = sets_group && is_other(starter.map(|user| user.group != program.owner.gid));
        let changes = changes_user || changes_group;
        // Who is root has them all.
        let gains = gives && is_other(starter.map(|user| user.id != 0));
        let gain = (changes || gains).then(|| Gain {
            identity: changes.then_some((program.mode, program.owner)),
            capabilities: capabilities.filter(|_| gains),
        });
        let may_read_all =
            gains && is_effective && !restrictions.no_new_privileges && !granted.and(Capabilities::READING).is_empty();
        let user = starter.map(|starter| match may_read_all {
            true => User::ROOT,
            false => User {
                id: if changes_user { program.owner.uid } else { starter.id },
                group: if changes_group {
                    program.owner.gid
                } else {
                    starter.group
                },
                others: starter.others.clone(),
            },
        });
        Self { gain, user, refused }
    }

    /// The same for what a root has at a path.
    pub(super) fn in_root(root: &dyn RootFs, environment: &Environment, supposed: Supposed, program: &Found) -> Self {
        Self::of(environment, supposed, program, root.capabilities(program).as_deref())
    }
}

/// Whether a file gives rights to some who start it.
#[must_use]
pub fn may_give_rights(root: &dyn RootFs, path: &str) -> bool {
    let is_given = |program: Found| program.mode & (SET_USER | SET_GROUP) != 0 || root.capabilities(&program).is_some();
    root.look(path).is_ok_and(is_given)
}

/// Whether who starts a program decides how it starts, and nobody said who that is.
pub(super) fn is_in_doubt(root: &dyn RootFs, environment: &Environment, path: &str) -> Option<Gain> {
    if environment.user.is_some() {
        return None;
    }
    let program = root.look(path).ok()?;
    Start::in_root(root, environment, Supposed::Stranger, &program).gain
}

impl Gain {
    /// What takes it away from it, for people.
    pub(super) fn conditions(&self) -> String {
        let is_all_or_nothing = self.capabilities.is_some_and(|capabilities| capabilities.is_effective);
        match (self.capabilities, is_all_or_nothing) {
            (Some(capabilities), true) if !capabilities.permitted.is_empty() => format!(
                "a mount with nosuid takes that away; no_new_privs does not, and a process that may not have {} cannot start it at all",
                capabilities.permitted
            ),
            (_, true) => "a mount with nosuid takes that away; no_new_privs does not".to_owned(),
            _ => "no_new_privs and a mount with nosuid take that away (--no-new-privileges)".to_owned(),
        }
    }
}

/// As a clause of a sentence about the program.
impl fmt::Display for Gain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((mode, Owner { uid, gid })) = self.identity {
            write!(formatter, "has the mode {mode:04o}, of user {uid} and group {gid}")?;
        }
        if let Some(capabilities) = self.capabilities {
            let and = if self.identity.is_some() { ", and " } else { "" };
            write!(formatter, "{and}has the capabilities {capabilities}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::environment::Restrictions;
    use crate::rootfs::FileKind;

    const KILL_EP: &[u8] = b"\x01\0\0\x02\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    const KILL_P: &[u8] = b"\0\0\0\x02\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    const KILL_I: &[u8] = b"\0\0\0\x02\0\0\0\0\x20\0\0\0\0\0\0\0\0\0\0\0";
    const EFFECT_OF_NONE: &[u8] = b"\x01\0\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    const KILL_ELSEWHERE: &[u8] = b"\x01\0\0\x03\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xe8\x03\0\0";
    const READS_EP: &[u8] = b"\x01\0\0\x02\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

    fn program(mode: u32, uid: u32, gid: u32) -> Found {
        Found {
            id: (0, 0),
            path: "/host".to_owned(),
            kind: FileKind::File,
            len: 0,
            mode,
            owner: Owner { uid, gid },
        }
    }

    fn environment(id: Option<u32>, no_new_privileges: bool, dropped: &str) -> Environment {
        Environment {
            user: id.map(|id| User {
                id,
                group: id,
                others: vec![],
            }),
            restrictions: Restrictions {
                gives_nothing: false,
                no_new_privileges,
                dropped: Capabilities::named(dropped).unwrap_or_default(),
            },
            ..Environment::default()
        }
    }

    /// What `AT_SECURE` was in programs that a kernel has started (Linux 6.18): as root, as user 1000, as user 1000 with
    /// `no_new_privs`, and as user 1000 and as root without `cap_kill` in the bounding set.
    #[test]
    fn it_is_as_the_kernel_has_it() {
        type Case = (u32, u32, u32, Option<&'static [u8]>, [&'static str; 5]);
        let cases: &[Case] = &[
            (0o755, 0, 0, None, ["no", "no", "no", "no", "no"]),
            (0o755, 0, 0, Some(KILL_EP), ["no", "yes", "yes", "refused", "refused"]),
            (0o755, 0, 0, Some(KILL_P), ["no", "yes", "no", "no", "no"]),
            (0o755, 0, 0, Some(KILL_I), ["no", "no", "no", "no", "no"]),
            (0o755, 0, 0, Some(EFFECT_OF_NONE), ["no", "yes", "yes", "yes", "no"]),
            (0o755, 0, 0, Some(KILL_ELSEWHERE), ["no", "no", "no", "no", "no"]),
            (0o755, 0, 0, Some(b""), ["refused"; 5]),
            (0o4755, 0, 0, None, ["no", "yes", "no", "yes", "no"]),
            (0o4755, 1000, 1000, None, ["yes", "no", "no", "no", "yes"]),
            (0o2755, 0, 5, None, ["yes", "yes", "no", "yes", "yes"]),
            (0o2745, 0, 5, None, ["no", "no", "no", "no", "no"]),
        ];
        let starts = [
            environment(Some(0), false, ""),
            environment(Some(1000), false, ""),
            environment(Some(1000), true, ""),
            environment(Some(1000), false, "kill"),
            environment(Some(0), false, "kill"),
        ];
        for (mode, uid, gid, attribute, expected) in cases {
            let found = program(*mode, *uid, *gid);
            let told = starts.each_ref().map(|environment| {
                let start = Start::of(environment, Supposed::Entitled, &found, *attribute);
                match (start.refused, start.gain) {
                    (Some(_), _) => "refused",
                    (None, Some(_)) => "yes",
                    (None, None) => "no",
                }
            });
            assert_eq!(told, *expected, "{mode:o} {uid}:{gid} {attribute:?}");
        }
    }

    #[test]
    fn it_goes_on_as_whom_the_file_says() {
        let check = |mode, attribute: Option<&[u8]>, expected: (u32, u32)| {
            let environment = environment(Some(1000), false, "");
            let start = Start::of(&environment, Supposed::Entitled, &program(mode, 7, 8), attribute);
            assert_eq!(start.user.map(|user| (user.id, user.group)), Some(expected), "{mode:o}");
        };
        check(0o755, None, (1000, 1000));
        check(0o4755, None, (7, 1000));
        check(0o2755, None, (1000, 8));
        check(0o6755, None, (7, 8));
        check(0o755, Some(KILL_EP), (1000, 1000));
        check(0o755, Some(READS_EP), (0, 0));
    }

    #[test]
    fn where_nothing_is_given_nothing_is() {
        let mut environment = environment(Some(1000), false, "kill");
        environment.restrictions.gives_nothing = true;
        let start = Start::of(&environment, Supposed::Stranger, &program(0o6755, 0, 0), Some(KILL_EP));
        assert_eq!((start.gain, start.refused), (None, None));
        assert_eq!(start.user, environment.user);
    }

    #[test]
    fn of_nobody_both_is_possible() {
        let environment = environment(None, false, "");
        let gain = |supposed, mode, attribute| {
            let start = Start::of(&environment, supposed, &program(mode, 0, 0), attribute);
            start.gain.map(|gain| gain.to_string())
        };
        assert_eq!(gain(Supposed::Entitled, 0o4755, Some(KILL_EP)), None);
        assert_eq!(gain(Supposed::Stranger, 0o755, None), None);
        let expected = "has the mode 6755, of user 0 and group 0, and has the capabilities cap_kill=ep";
        assert_eq!(
            gain(Supposed::Stranger, 0o6755, Some(KILL_EP)).as_deref(),
            Some(expected)
        );
    }
}
