//! What this machine's files and disks refused: the same cause is told in the same way, and with the same exit code,
//! wherever a run meets it.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::path::Path;

use rustix::io::Errno;

use super::Failure;
use crate::exit::Exit;
use crate::regular_file::Unfit;

/// A failure of this machine's files. `path` is what the operating system refused to touch; what is known to be the
/// user's to mend (a full disk, a directory that may not be written) is told with a hint and is [`Exit::Usage`], and
/// anything else a defect of the machine or of lockstep.
#[must_use]
pub fn of_machine(code: &'static str, message: impl Into<String>, cause: &io::Error, path: &Path) -> Failure {
    match hint(cause, path) {
        Some(hint) => Failure::new(Exit::Usage, code, message).with_hint(hint),
        None => Failure::new(Exit::Internal, code, message),
    }
}

/// Whether a file or directory cannot be written because of who this is or of how it is mounted.
#[must_use]
pub fn is_unwritable(cause: &io::Error) -> bool {
    matches!(errno(cause), Some(Errno::ROFS | Errno::ACCESS | Errno::PERM))
        || matches!(
            cause.kind(),
            ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied
        )
}

/// What to do about an operating system's refusal; none when nobody knows.
fn hint(cause: &io::Error, path: &Path) -> Option<String> {
    let shown = path.display();
    let place = path
        .ancestors()
        .find(|above| above.is_dir())
        .unwrap_or(Path::new("/"))
        .display();
    if let Some(unfit) = inner::<Unfit>(cause) {
        return Some(match unfit {
            Unfit::TooLarge(_) => format!("what is {shown} for? make it smaller, or remove it"),
            Unfit::Kind(_) | Unfit::NoDirectory(_) => format!("move {shown} away, or put a plain one there"),
        });
    }
    Some(match (errno(cause), cause.kind()) {
        (Some(Errno::NOSPC), _) | (_, ErrorKind::StorageFull) => {
            format!("the disk of {place} is full: make room there, then run the command again")
        }
        (Some(Errno::DQUOT), _) | (_, ErrorKind::QuotaExceeded) => {
            format!("your quota on the disk of {place} is used up: make room there, then run the command again")
        }
        (Some(Errno::ROFS), _) | (_, ErrorKind::ReadOnlyFilesystem) => {
            format!("{place} is mounted read-only: mount it writable, or work in a copy")
        }
        (Some(Errno::ACCESS | Errno::PERM), _) | (_, ErrorKind::PermissionDenied) => {
            format!("check whose {shown} is and what its permissions are, or work in a copy of your own")
        }
        (Some(Errno::MFILE | Errno::NFILE), _) => {
            "too many files are open at once: raise the limit (`ulimit -n`), or end what holds them".to_owned()
        }
        (Some(Errno::NAMETOOLONG), _) | (_, ErrorKind::InvalidFilename) => {
            format!("the file system of {place} takes no name that long: use a shorter path")
        }
        (Some(Errno::FBIG), _) | (_, ErrorKind::FileTooLarge) => {
            format!("the file system of {place}, or `ulimit -f`, allows no file that large")
        }
        (Some(Errno::NOTDIR | Errno::ISDIR | Errno::LOOP | Errno::EXIST), _)
        | (_, ErrorKind::NotADirectory | ErrorKind::IsADirectory | ErrorKind::AlreadyExists) => {
            format!("something else is in the way of {shown}: move it away")
        }
        _ => return None,
    })
}

/// The operating system's number. What makes temporary files wraps it in an error that has it in its words alone.
fn errno(cause: &io::Error) -> Option<Errno> {
    let said = || {
        let text = cause.to_string();
        let (_, rest) = text.split_once("(os error ")?;
        rest.split_once(')')?.0.parse().ok()
    };
    cause.raw_os_error().or_else(said).map(Errno::from_raw_os_error)
}

/// The first error of a kind among what an error wraps.
fn inner<E: Error + 'static>(cause: &io::Error) -> Option<&E> {
    /// Nobody wraps an error more often.
    const DEPTH_LIMIT_ERRORS: usize = 8;
    let mut next: Option<&(dyn Error + 'static)> = cause.get_ref().map(|inner| inner as &(dyn Error + 'static));
    for _ in 0..DEPTH_LIMIT_ERRORS {
        let error = next?;
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_user_can_mend_is_no_defect_of_ours() {
        let path = Path::new("/proc/self/gone/deeper");
        for (errno, expected) in [
            (Errno::NOSPC, "the disk of /proc/self is full"),
            (Errno::DQUOT, "quota on the disk of /proc/self"),
            (Errno::ROFS, "/proc/self is mounted read-only"),
            (Errno::ACCESS, "whose /proc/self/gone/deeper is"),
            (Errno::PERM, "whose /proc/self/gone/deeper is"),
            (Errno::MFILE, "ulimit -n"),
            (Errno::NFILE, "ulimit -n"),
            (Errno::NAMETOOLONG, "use a shorter path"),
            (Errno::FBIG, "allows no file that large"),
            (Errno::NOTDIR, "in the way of /proc/self/gone/deeper"),
        ] {
            let failure = of_machine("file", "failed", &errno.into(), path);
            assert_eq!(failure.exit, Exit::Usage, "{errno}");
            assert!(
                failure.hint.as_ref().is_some_and(|hint| hint.contains(expected)),
                "{failure:?}"
            );
        }
        let failure = of_machine("file", "failed", &Errno::IO.into(), path);
        assert_eq!((failure.exit, failure.hint), (Exit::Internal, None));
    }

    /// `tempfile` says the path in its error, and hides the number behind it.
    #[test]
    fn what_is_wrapped_is_known_all_the_same() {
        let cause = tempfile::tempdir_in("/proc/self/gone").unwrap_err();
        assert_eq!((cause.raw_os_error(), errno(&cause)), (None, Some(Errno::NOENT)));
        let cause = tempfile::tempdir_in("/proc/self/status").unwrap_err();
        assert!(hint(&cause, Path::new("/proc/self/status")).is_some_and(|hint| hint.contains("in the way")));
        let cause: io::Error = Unfit::Kind("symbolic link").into();
        assert!(hint(&cause, Path::new("/x")).is_some_and(|hint| hint.contains("move /x away")));
    }
}
