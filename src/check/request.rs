//! What is asked: a host, its plugins, and where they run.

use super::environment::Environment;
use super::simulation::Subject;
use crate::config::{CheckContract, Loader};
use crate::rootfs::RootFs;

/// What is checked.
pub struct Request<'r> {
    /// The files.
    pub root: &'r dyn RootFs,
    /// The host.
    pub host: Subject,
    /// What lies beside the host.
    pub beside_host: Vec<Subject>,
    /// The plugins, in the order in which the host opens them.
    pub plugins: Vec<Plugin<'r>>,
    /// What the host is started with.
    pub environment: &'r Environment,
    /// Whether what lies beside host and plugins is looked at too.
    pub with_companions: bool,
    /// Whether the root is the one in which the host runs. If not, nothing is said of libraries, and that is said.
    pub is_root_known: bool,
}

/// A plugin.
pub struct Plugin<'r> {
    /// The file that the host opens.
    pub subject: Subject,
    /// What the host expects of it.
    pub contract: &'r CheckContract,
    /// What lies beside it.
    pub beside: Vec<Subject>,
}

impl<'r> Plugin<'r> {
    /// A plugin with nothing beside it.
    #[must_use]
    pub fn alone(subject: Subject, contract: &'r CheckContract) -> Self {
        Self {
            subject,
            contract,
            beside: vec![],
        }
    }
}

impl Request<'_> {
    /// How the host loads, if that was said.
    pub(super) fn loader(&self) -> Option<Loader> {
        self.plugins.iter().find_map(|plugin| plugin.contract.loader)
    }
}
