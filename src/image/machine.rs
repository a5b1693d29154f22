//! What making an image needs to know of the machine: where its packages come from, and how it reaches a network.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::error::ImageError;
use super::mirror::{DEBIAN_KEYRING, Mirrors, debian_mirrors, read_sources};
use crate::context::Context;
use crate::network::NetworkSettings;
use crate::platform::architecture;
use crate::regular_file;

/// The largest file of the machine that is read; a bundle of certificates has some 200 KB.
const FILE_LIMIT_BYTES: u64 = 8 * 1024 * 1024;

/// Names the address of a Debian archive, for machines whose apt knows none.
const MIRROR_VARIABLE: &str = "LOCKSTEP_DEBIAN_MIRROR";
/// Names the file with the keys of that archive, when it is signed with other ones than Debian's.
const KEYRING_VARIABLE: &str = "LOCKSTEP_DEBIAN_KEYRING";
/// The machine as far as images are concerned.
#[derive(Debug, Clone)]
pub struct Machine {
    /// `/`; another directory in tests.
    root: PathBuf,
    /// Whether the effective user is root, which decides how root filesystems are made.
    pub is_root: bool,
    /// As the image specification spells it: `amd64`, `arm64`, …
    pub architecture: &'static str,
    /// How it reaches a network.
    pub network: NetworkSettings,
    /// How much memory nobody needed when the run started.
    pub available_memory_bytes: u64,
    /// Where programs are searched.
    pub search_path: String,
    mirror: Option<String>,
    keyring: Option<PathBuf>,
}

impl Machine {
    /// The machine of a run.
    #[must_use]
    pub fn from_context(context: &Context) -> Self {
        Self::at(Path::new("/"), &context.variables, context.is_root)
    }

    fn at(root: &Path, variables: &BTreeMap<String, String>, is_root: bool) -> Self {
        let variable = |name: &str| variables.get(name).filter(|value| !value.is_empty());
        Self {
            root: root.to_owned(),
            is_root,
            architecture: architecture(),
            network: NetworkSettings::of(root, variables),
            available_memory_bytes: regular_file::read_text(&root.join("proc/meminfo"), FILE_LIMIT_BYTES)
                .map_or(0, |text| available_memory_bytes(&text)),
            search_path: variable("PATH")
                .cloned()
                .unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
            mirror: variable(MIRROR_VARIABLE).cloned(),
            keyring: variable(KEYRING_VARIABLE).map(PathBuf::from),
        }
    }

    /// Where Debian's packages come from.
    ///
    /// # Errors
    /// [`ImageError::NoMirror`].
    pub fn debian(&self) -> Result<Mirrors, ImageError> {
        if let Some(uri) = &self.mirror {
            return Ok(Mirrors {
                archive: uri.clone(),
                updates: None,
                security: None,
            });
        }
        debian_mirrors(&read_sources(&self.root.join("etc/apt"))).ok_or(ImageError::NoMirror)
    }

    /// The keys that Debian's archive is signed with.
    ///
    /// # Errors
    /// [`ImageError::NoKeyring`].
    pub fn debian_keyring(&self) -> Result<PathBuf, ImageError> {
        let path = self.keyring.clone().unwrap_or_else(|| self.root.join(DEBIAN_KEYRING));
        if path.is_file() {
            Ok(path)
        } else {
            Err(ImageError::NoKeyring { path })
        }
    }

    /// The certificates that the machine trusts, for networks that intercept TLS.
    #[must_use]
    pub fn certificates(&self) -> Option<Vec<u8>> {
        regular_file::read(self.network.ca_bundle.as_ref()?, FILE_LIMIT_BYTES).ok()
    }

    /// The names that the machine itself gives to addresses.
    #[must_use]
    pub fn hosts(&self) -> Option<Vec<u8>> {
        regular_file::read(&self.root.join("etc/hosts"), FILE_LIMIT_BYTES).ok()
    }

    /// Whether a program can be found.
    #[must_use]
    pub fn has_program(&self, name: &str) -> bool {
        std::env::split_paths(OsStr::new(&self.search_path)).any(|directory| directory.join(name).is_file())
    }
}

/// What the kernel estimates (proc(5), `/proc/meminfo`); nothing when it does not say.
fn available_memory_bytes(text: &str) -> u64 {
    const KIBIBYTE_BYTES: u64 = 1024;
    text.lines()
        .find_map(|line| {
            line.strip_prefix("MemAvailable:")?
                .trim()
                .strip_suffix(" kB")?
                .parse::<u64>()
                .ok()
        })
        .map_or(0, |kibibytes| kibibytes.saturating_mul(KIBIBYTE_BYTES))
}

/// What Debian calls an architecture of the image specification.
pub(super) fn debian_architecture(architecture: &str) -> &str {
    match architecture {
        "386" => "i386",
        "arm" => "armhf",
        "ppc64le" => "ppc64el",
        other => other,
    }
}

#[cfg(test)]
impl Machine {
    /// One whose apt names no mirrors, for tests that should ask none.
    pub(super) fn without_mirrors(root: &Path) -> Self {
        Self::at(root, &BTreeMap::new(), false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_of_a_variable_comes_first() {
        let root = tempfile::tempdir().unwrap();
        let variables = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        let machine = Machine::at(root.path(), &variables(&[]), false);
        assert!(matches!(machine.debian(), Err(ImageError::NoMirror)));
        assert!(matches!(machine.debian_keyring(), Err(ImageError::NoKeyring { .. })));
        assert_eq!(machine.certificates(), None);
        let named = variables(&[
            (MIRROR_VARIABLE, "http://m.example"),
            ("https_proxy", "http://p.example"),
        ]);
        let machine = Machine::at(root.path(), &named, false);
        assert_eq!(machine.debian().unwrap().archive, "http://m.example");
        assert_eq!(
            machine.network.proxies,
            variables(&[("https_proxy", "http://p.example")])
        );
    }

    #[test]
    fn memory_is_what_the_kernel_says() {
        let text = "MemTotal:       24684084 kB\nMemAvailable:   2 kB\n";
        assert_eq!(available_memory_bytes(text), 2048);
        assert_eq!(available_memory_bytes("MemAvailable: many"), 0);
    }

    #[test]
    fn programs_are_searched_where_the_user_has_them() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("tool"), "").unwrap();
        let path = format!("/nowhere:{}", root.path().display());
        let variables = BTreeMap::from([("PATH".to_owned(), path)]);
        let machine = Machine::at(root.path(), &variables, false);
        assert!(machine.has_program("tool"));
        assert!(!machine.has_program("other"));
    }
}
