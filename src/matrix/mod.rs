//! Every host against every plugin of every environment: what was seen, told apart. Pure; the runs are in `run/`.

mod cell;
mod table;

pub use cell::{Cell, Difference, Observed, Prediction, Seen, observe};
pub use table::render;

use serde::Serialize;

use crate::name::{EnvironmentName, ProjectName};

/// The version of the matrix's JSON form.
pub const MATRIX_SCHEMA_VERSION: u32 = 1;

/// All cells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Matrix {
    /// [`MATRIX_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The project.
    pub project: ProjectName,
    /// The environments, of hosts and of plugins alike.
    pub environments: Vec<EnvironmentName>,
    /// The plugins.
    pub plugins: Vec<String>,
    /// By host's environment, plugin's environment, plugin.
    pub cells: Vec<Cell>,
}

impl Matrix {
    /// The cells of an environment's own plugins that did not load and answer: there must be none.
    pub fn broken(&self) -> impl Iterator<Item = &Cell> {
        self.cells
            .iter()
            .filter(|cell| cell.host == cell.plugins && cell.observed != Observed::Loaded)
    }

    /// The cells in which something else happened than was predicted: there must be none.
    pub fn disagreements(&self) -> impl Iterator<Item = &Cell> {
        self.cells.iter().filter(|cell| !cell.agrees())
    }
}
