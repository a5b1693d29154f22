//! A host that is not compiled.

use serde::Serialize;

use super::PlannedFile;
use crate::config::{Host, Program};
use crate::name::UnitName;

/// A host that is not compiled, and what is shipped of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedHost {
    /// Its name.
    pub name: UnitName,
    /// Where it is: absolute in an image, else relative to the project's directory.
    pub path: String,
    /// The image from which it is taken; none for one of the runtime image, and for the project's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The project's file; none where it is in an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PlannedFile>,
}

impl PlannedHost {
    /// The host of a project, of which `file` is what the project brings; none for one that is compiled.
    #[must_use]
    pub fn of(host: &Host, file: Option<PlannedFile>) -> Option<Self> {
        let (path, image) = match &host.program {
            Program::Compiled(_) => return None,
            Program::Runtime(program) => (program.path.as_str(), None),
            Program::Brought(program) => (program.path(), program.image()),
        };
        Some(Self {
            name: host.name().clone(),
            path: path.to_owned(),
            image: image.map(ToOwned::to_owned),
            file,
        })
    }
}
