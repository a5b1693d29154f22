//! PHP's extensions: `config.m4`, for the PHP whose `phpize` is there.

use super::{JOBS, System, words};
use crate::config::{Build, Unit};

pub(super) const PHPIZE: System = System {
    programs: &[("phpize", "php-dev"), ("make", "make")],
    make,
    trees: &["modules"],
};

fn make(_: &Unit, build: &Build) -> String {
    format!(
        "phpize\nsh ./configure{options}\nmake {JOBS}",
        options = words(&build.options)
    )
}
