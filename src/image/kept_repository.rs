//! The packages of a lock as a repository of their own: a bootstrap that knows no other one installs exactly these.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::assemble::NOTES_DIRECTORY;
use super::cache::failed;
use super::child::{ChildError, answer};
use super::error::{ImageError, LayerError};
use super::gather::KeptPackage;
use super::machine::Machine;
use super::work::link_or_copy;

/// How long dpkg-deb may take for one package.
const FIELDS_TIMEOUT: Duration = Duration::from_secs(30);
/// How much it may say of one.
const FIELDS_LIMIT_BYTES: u64 = 1024 * 1024;

/// Packages, and the list of them that apt reads.
#[derive(Debug)]
pub(super) struct KeptRepository {
    packages: Vec<KeptPackage>,
    index: String,
}

impl KeptRepository {
    /// Reads what the packages say of themselves.
    pub(super) fn of(
        packages: Vec<KeptPackage>,
        machine: &Machine,
        cancel: &CancellationToken,
    ) -> Result<Self, ImageError> {
        let mut index = String::new();
        for kept in &packages {
            let mut command = Command::new("dpkg-deb");
            command
                .env_clear()
                .env("PATH", &machine.search_path)
                .env("LC_ALL", "C.UTF-8");
            command.arg("--field").arg(&kept.path);
            let fields = answer("dpkg-deb", command, FIELDS_TIMEOUT, FIELDS_LIMIT_BYTES, cancel);
            let fields = fields.map_err(|cause| match cause {
                ChildError::Cancelled => ImageError::Cancelled,
                cause => ImageError::Layer {
                    recipe: kept.package.name.clone(),
                    cause: LayerError::Read(std::io::Error::other(cause)),
                },
            })?;
            let size_bytes = fs::symlink_metadata(&kept.path)
                .map_err(failed("read", &kept.path))?
                .len();
            // Writing to a string cannot fail.
            let _ = write!(
                index,
                "{}\nFilename: ./{}\nSize: {size_bytes}\nSHA256: {}\n\n",
                fields.trim_end(),
                kept.file_name(),
                kept.digest.hex()
            );
        }
        Ok(Self { packages, index })
    }

    /// The list, and where the new root has it until it is done.
    pub(super) fn index(&self) -> (String, Vec<u8>) {
        let path = format!("{NOTES_DIRECTORY}/repository/Packages");
        (path, self.index.clone().into_bytes())
    }

    /// Puts the packages where a bootstrap takes them from.
    pub(super) fn offer(&self, directory: &Path) -> Result<(), ImageError> {
        for kept in &self.packages {
            let to = directory.join(kept.file_name());
            link_or_copy(&kept.path, &to).map_err(failed("write", &to))?;
        }
        Ok(())
    }
}

/// Makes the list the only source that apt knows. Nobody signs it: it was written here, and names each package's hash.
pub(super) const USE_REPOSITORY: &str = "printf 'deb [trusted=yes] copy:%s/tmp/lockstep/repository ./\\n' \"$1\" \
    > \"$1/etc/apt/sources.list\"";
