//! The bundle: artifacts come out of containers that nobody trusts, get a manifest, and are published all at once.

mod difference;
mod manifest;
mod metadata;
mod publish;
mod untrusted;
mod volume;

pub use difference::Difference;
pub use manifest::{
    ArgumentRecord, ArtifactRecord, BUNDLE_DIRECTORIES, CallRecord, ContractRecord, HostRecord, INSTALLED_DIRECTORY,
    ImageRecord, MANIFEST_FILE, MANIFEST_LIMIT_BYTES, MANIFEST_SCHEMA_VERSION, Manifest, ManifestError, NetworkRecord,
    SmokeRecord, UnitRecord,
};
pub use metadata::{METADATA_SUFFIX, PROVENANCE_FILE, SBOM_FILE, read_metadata, verify_metadata};
pub use publish::{Publication, PublishError, Staging, restore, verify};
pub use untrusted::{
    ARCHIVE_ENTRIES_LIMIT, Artifact, CollectError, Collected, Declared, EXTENSION_LIMIT_BYTES, IGNORED_LIMIT_BYTES,
    collect,
};
#[cfg(test)]
pub(crate) use volume::emulator;
pub use volume::look::Expected;
pub use volume::removal::{Removal, remove_own};
pub use volume::{INSTANCE_LABEL, PROJECT_LABEL, Patience, ReleaseVolume, StagedRelease, VolumeError, look_at, stage};

/// Where bundles are published, in a project's directory.
pub const BUNDLE_DIRECTORY: &str = "dist";
