//! Whether a build image that extends the runtime image has what runs.

use super::super::error::MakeError;
use crate::lock;

/// What of a runtime image is not in a build image that extends it: then what is compiled in the one may not run in the
/// other. That the recipes are right does not say that both images were made from the same packages.
pub(in crate::run) fn check_extension(build: &lock::Image, runtime: &lock::Image) -> Result<(), MakeError> {
    let Some(missing) = runtime
        .packages
        .iter()
        .find(|package| !build.packages.contains(package))
    else {
        return match build.layers.starts_with(&runtime.layers) {
            true => Ok(()),
            false => Err(MakeError::OtherRuntime),
        };
    };
    let is_same =
        |package: &&lock::Package| (&package.name, &package.architecture) == (&missing.name, &missing.architecture);
    let found = build.packages.iter().find(is_same);
    Err(MakeError::OtherPackage {
        runtime: format!("{} {}", missing.name, missing.version),
        build: found.map_or("none of it".to_owned(), |package| {
            format!("{} {}", package.name, package.version)
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn a_build_image_has_what_its_runtime_has() {
        let image = |packages: &[&str], layers: &[&[u8]]| lock::Image {
            recipe: Digest::of(b"recipe"),
            id: String::new(),
            layers: layers.iter().map(|layer| Digest::of(layer)).collect(),
            registry: None,
            packages: packages.iter().map(|package| package.parse().unwrap()).collect(),
        };
        let runtime = image(&["nginx 1.26-1 amd64 -"], &[b"1"]);
        for (packages, layers, expected) in [
            (
                &["nginx 1.26-1 amd64 -", "nginx-dev 1.26-1 all -"][..],
                &[&b"1"[..], b"2"][..],
                "",
            ),
            (
                &["nginx 1.27-1 amd64 -"],
                &[b"1", b"2"],
                "the runtime image has nginx 1.26-1, and the build image that extends it has nginx 1.27-1",
            ),
            (
                &["gcc 14 amd64 -"],
                &[b"1"],
                "the runtime image has nginx 1.26-1, and the build image that extends it has none of it",
            ),
            (
                &["nginx 1.26-1 amd64 -"],
                &[b"2"],
                "the build image extends another image than the runtime: its lowest layers are not the runtime's",
            ),
        ] {
            let checked = check_extension(&image(packages, layers), &runtime);
            assert_eq!(
                checked.err().map(|error| error.to_string()).unwrap_or_default(),
                expected
            );
        }
    }
}
