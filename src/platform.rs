//! The machine that this program was compiled for.

/// Its architecture as images and Go spell it (image specification, "Image Index"): `amd64`, `arm64`, …
#[must_use]
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}
