//! Files that others wrote, read without a surprise: what is opened is a regular file, and what is read is bounded.
//!
//! A name in a project can lead to a pipe that nobody writes to, to a device that never ends, or to a file that grows
//! faster than it is read. Whatever reads a file of this machine does it through here.

use std::fmt;
use std::fs::{File, FileType, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

/// How much room is made for a file's content before any of it was read, whatever its size is said to be.
const CAPACITY_LIMIT_BYTES: u64 = 16 * 1024 * 1024;

/// Why a file is not read though the operating system would; the inner error of an [`io::Error`] from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// It is something else.
    Kind(&'static str),
    /// It should be a directory, and is something else.
    NoDirectory(&'static str),
    /// It has more bytes than this.
    TooLarge(u64),
}

impl fmt::Display for Unfit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(kind) => write!(formatter, "it is not a regular file but a {kind}"),
            Self::NoDirectory(kind) => write!(formatter, "it is not a directory but a {kind}"),
            Self::TooLarge(limit) => write!(formatter, "it is too large: the limit is {limit} bytes"),
        }
    }
}

impl std::error::Error for Unfit {}

impl From<Unfit> for io::Error {
    fn from(unfit: Unfit) -> Self {
        let kind = match unfit {
            Unfit::Kind("directory") => io::ErrorKind::IsADirectory,
            Unfit::NoDirectory(_) => io::ErrorKind::NotADirectory,
            Unfit::Kind(_) => io::ErrorKind::InvalidInput,
            Unfit::TooLarge(_) => io::ErrorKind::FileTooLarge,
        };
        Self::new(kind, unfit)
    }
}

/// Opens a regular file for reading. Never waits, as opening a pipe would.
///
/// # Errors
/// What the operating system says; [`Unfit::Kind`] when `path` leads to something else.
pub fn open(path: &Path) -> io::Result<File> {
    open_as(path, OFlags::empty(), std::fs::metadata(path)?)
}

/// Opens a regular file for reading, and not through a symbolic link at its name: for what lockstep wrote itself, which
/// is never one.
///
/// # Errors
/// As [`open`], and [`Unfit::Kind`] when `path` is a link.
pub fn open_itself(path: &Path) -> io::Result<File> {
    open_as(path, OFlags::NOFOLLOW, std::fs::symlink_metadata(path)?)
}

/// The content of a regular file.
///
/// # Errors
/// As [`open`]; [`Unfit::TooLarge`] when it has more than `limit_bytes`; what reading fails with.
pub fn read(path: &Path, limit_bytes: u64) -> io::Result<Vec<u8>> {
    read_all(open(path)?, limit_bytes)
}

/// The content of a regular file that is no symbolic link.
///
/// # Errors
/// As [`open_itself`] and [`read`].
pub fn read_itself(path: &Path, limit_bytes: u64) -> io::Result<Vec<u8>> {
    read_all(open_itself(path)?, limit_bytes)
}

/// The content of a regular file as text.
///
/// # Errors
/// As [`read`]; [`io::ErrorKind::InvalidData`] when it is not UTF-8.
pub fn read_text(path: &Path, limit_bytes: u64) -> io::Result<String> {
    let bytes = read(path, limit_bytes)?;
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

/// The first bytes of a regular file, at most `limit_bytes`: for what is cut, and not refused, when it is longer.
///
/// # Errors
/// As [`open`]; what reading fails with.
pub fn read_start(path: &Path, limit_bytes: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let mut bytes = Vec::new();
    file.take(limit_bytes).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What an open regular file has left.
///
/// # Errors
/// [`Unfit::TooLarge`]; what reading fails with.
pub fn read_all(file: File, limit_bytes: u64) -> io::Result<Vec<u8>> {
    let len = file.metadata()?.len();
    if len > limit_bytes {
        return Err(Unfit::TooLarge(limit_bytes).into());
    }
    let mut bytes = Vec::new();
    // A size that is not true, as of the files in /proc, costs nothing.
    let _ = bytes.try_reserve(usize::try_from(len.min(CAPACITY_LIMIT_BYTES)).unwrap_or(0));
    // It may have grown since.
    file.take(limit_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit_bytes {
        return Err(Unfit::TooLarge(limit_bytes).into());
    }
    Ok(bytes)
}

/// Makes a directory where there is none. A link in its place is refused: what is written or removed below would be
/// somewhere else, and version control can carry such a link into a project.
///
/// # Errors
/// When it cannot be made; [`Unfit::NoDirectory`].
pub fn make_directory(path: &Path) -> io::Result<()> {
    match std::fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => check_directory(path),
        made => made,
    }
}

/// An error unless a directory is at `path` itself, and no link to one.
///
/// # Errors
/// When there is nothing; [`Unfit::NoDirectory`].
pub fn check_directory(path: &Path) -> io::Result<()> {
    let kind = std::fs::symlink_metadata(path)?.file_type();
    if kind.is_dir() {
        return Ok(());
    }
    Err(Unfit::NoDirectory(kind_of(kind).unwrap_or("regular file")).into())
}

/// Copies a regular file that is no link to a place where nothing is yet.
///
/// # Errors
/// As [`open_itself`]; when the copy cannot be written.
pub fn copy_itself(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = open_itself(from)?;
    let mut target = File::create_new(to)?;
    io::copy(&mut source, &mut target)?;
    target.set_permissions(source.metadata()?.permissions())
}

/// Opening alone can have effects (a pipe's writer wakes up, a tape rewinds), so the kind is looked at before; and it can
/// have become another one until then, so it is looked at behind it, too.
fn open_as(path: &Path, flags: OFlags, before: Metadata) -> io::Result<File> {
    check_kind(before.file_type())?;
    let flags = (flags | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC).bits();
    let flags = i32::try_from(flags).map_err(io::Error::other)?;
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    check_kind(file.metadata()?.file_type())?;
    Ok(file)
}

fn check_kind(kind: FileType) -> Result<(), Unfit> {
    match kind_of(kind) {
        None => Ok(()),
        Some(other) => Err(Unfit::Kind(other)),
    }
}

/// What something is called that is no regular file; none when it is one.
#[must_use]
pub fn kind_of(kind: FileType) -> Option<&'static str> {
    Some(if kind.is_file() {
        return None;
    } else if kind.is_dir() {
        "directory"
    } else if kind.is_symlink() {
        "symbolic link"
    } else if kind.is_fifo() {
        "named pipe"
    } else if kind.is_socket() {
        "socket"
    } else {
        "device"
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::time::{Duration, Instant};

    /// Reading what is no file must not wait.
    const AT_ONCE: Duration = Duration::from_secs(5);

    #[test]
    fn a_regular_file_is_read_whole_or_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert_eq!(read_start(&path, 3).unwrap(), b"123");
        let error = read(&path, 4).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(error.to_string(), "it is too large: the limit is 4 bytes");
        let gone = read(&directory.path().join("gone"), 4).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
        std::fs::write(&path, [0xff]).unwrap();
        assert_eq!(read_text(&path, 5).unwrap_err().to_string(), "it is not UTF-8");
    }

    /// The files of /proc say that they are empty; some never end.
    #[test]
    fn a_size_that_is_not_true_does_no_harm() {
        assert!(!read(Path::new("/proc/self/status"), 1 << 20).unwrap().is_empty());
        let error = read(Path::new("/proc/self/status"), 10).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_link_is_followed_unless_the_file_itself_is_meant() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        std::fs::write(&file, "x").unwrap();
        symlink("file", &link).unwrap();
        assert_eq!(read(&link, 1).unwrap(), b"x");
        assert_eq!(read_itself(&file, 1).unwrap(), b"x");
        let error = read_itself(&link, 1).unwrap_err();
        assert_eq!(error.to_string(), "it is not a regular file but a symbolic link");
    }

    #[test]
    fn what_is_no_regular_file_is_refused_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let name = |name: &str| directory.path().join(name);
        let mode = rustix::fs::Mode::from_raw_mode(0o644);
        rustix::fs::mknodat(rustix::fs::CWD, name("pipe"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let _socket = UnixListener::bind(name("socket")).unwrap();
        symlink("/dev/zero", name("zero")).unwrap();
        symlink("loop", name("loop")).unwrap();
        let started = Instant::now();
        for (path, expected) in [
            (name("pipe"), "it is not a regular file but a named pipe"),
            (name("socket"), "it is not a regular file but a socket"),
            (name("zero"), "it is not a regular file but a device"),
            ("/dev/tty".into(), "it is not a regular file but a device"),
            (name(""), "it is not a regular file but a directory"),
            (name("loop"), "Too many levels of symbolic links (os error 40)"),
        ] {
            assert_eq!(read(&path, 10).unwrap_err().to_string(), expected, "{}", path.display());
        }
        assert!(started.elapsed() < AT_ONCE);
    }
}
