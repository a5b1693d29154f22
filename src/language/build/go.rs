//! `go build` in a mode of one's choice, for what `language: go` alone cannot say.

use super::{BUILD_ROOT, System, quote, words};
use crate::config::{Build, Unit, UnitRole};

pub(super) const GO: System = System {
    programs: &[("go", "golang-go"), ("gcc", "gcc")],
    make,
    trees: &[BUILD_ROOT],
};

/// The header that `-buildmode=c-shared` writes lies beside, and can be an artifact, too.
fn make(unit: &Unit, build: &Build) -> String {
    let default = match unit.role {
        UnitRole::Host => "exe",
        UnitRole::Plugin => "plugin",
    };
    let mode = build.buildmode.as_deref().unwrap_or(default);
    let tags = (!build.tags.is_empty()).then(|| format!("-tags={}", build.tags.join(",")));
    let library = unit.artifacts.first().map_or("", String::as_str);
    format!(
        "{vendor}go build $vendor {FLAGS} -buildmode={mode}{tags}{options} -o {BUILD_ROOT}/{library} {package}",
        vendor = super::super::go::VENDOR,
        FLAGS = super::super::go::FLAGS,
        tags = words(tags),
        options = words(&build.options),
        library = quote(library),
        package = quote(build.package.as_deref().unwrap_or(".")),
    )
}
