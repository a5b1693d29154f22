//! In whose process the smoke test opens plugins: in the host's, where it takes a probe.

use std::io;
use std::path::Path;

use super::error::OpenerError;
use super::placed::BUNDLE_PATH;
use super::{Run, RunError};
use crate::config::{Contract, Loader, OpenedBy};
use crate::rootfs::{OverlayRoot, RootFs as _};

/// Who opens plugins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Opener {
    /// The host, which is at this path in the container.
    Host(String),
    /// The smoke loader.
    Loader,
    /// Nobody.
    Nobody,
}

impl Run {
    /// Who opens plugins of the host, whose files are in `bundle` on this machine: for each contract in their order.
    pub(super) fn openers(&self, bundle: &Path) -> Result<Vec<Opener>, RunError> {
        let contracts = self.project.contracts.iter();
        contracts.map(|named| self.opener(&named.contract, bundle)).collect()
    }

    fn opener(&self, contract: &Contract, bundle: &Path) -> Result<Opener, RunError> {
        let host = &self.project.host;
        match (contract.opened_by, contract.loader) {
            (Some(OpenedBy::Nobody), _) => return Ok(Opener::Nobody),
            (Some(OpenedBy::Loader), _) | (_, Loader::Go) => return Ok(Opener::Loader),
            (Some(OpenedBy::Host) | None, Loader::Dlopen) => {}
        }
        // A host of the runtime image was looked at when the image was.
        let what = match host.place() {
            Some(place) => {
                let file = bundle.join(place);
                what_else(&file).map_err(RunError::file_at("look at", &file))?
            }
            None => None,
        };
        match (what, contract.opened_by) {
            (None, _) => Ok(Opener::Host(host.path_in(BUNDLE_PATH))),
            (Some(what), Some(_)) => Err(OpenerError {
                host: host.name().to_string(),
                what,
            }
            .into()),
            (Some(_), None) => Ok(Opener::Loader),
        }
    }
}

/// What a file is that is no program which an interpreter loads; none for one that is.
fn what_else(file: &Path) -> io::Result<Option<&'static str>> {
    let mut root = OverlayRoot::new(None)?;
    let path = root.put(file);
    let object = root.look(&path).ok().and_then(|found| root.object(&found));
    Ok(match object {
        Some(Ok(elf)) if elf.interpreter.is_some() => None,
        Some(Ok(_)) => Some("linked statically"),
        Some(Err(_)) | None => Some("no ELF file"),
    })
}
