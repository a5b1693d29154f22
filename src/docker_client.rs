//! Where the docker client keeps what it knows of engines and registries.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The largest configuration of a client that is read.
pub const CONFIG_LIMIT_BYTES: u64 = 4 * 1024 * 1024;

/// `$DOCKER_CONFIG`, else `~/.docker`; none where nothing says where the user is at home.
#[must_use]
pub fn client_directory(variables: &BTreeMap<String, String>) -> Option<PathBuf> {
    let set = |name: &str| variables.get(name).filter(|value| !value.is_empty()).map(Path::new);
    let directory = set("DOCKER_CONFIG").map(Path::to_owned);
    directory.or_else(|| set("HOME").map(|home| home.join(".docker")))
}

/// The client's configuration in its directory.
#[must_use]
pub fn config_file(directory: &Path) -> PathBuf {
    directory.join("config.json")
}
