//! What registries and image layouts call the kinds of what they keep (image specification, media-types.md).

/// A list of manifests.
pub const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// A manifest, of an image or of anything else.
pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// The kind of [`EMPTY`].
pub const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
/// The content of the empty descriptor (image specification, manifest.md, "Guidance for an Empty Descriptor").
pub const EMPTY: &[u8] = b"{}";
/// The version that manifests and indices say they have.
pub const SCHEMA_VERSION: u32 = 2;
