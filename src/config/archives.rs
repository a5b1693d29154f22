//! `archives:`: where packages are had again when the mirror no longer has them.

use std::path::Path;

use super::scope::Surroundings;
use crate::image::PackageArchive;
use crate::yaml::{Decoded, Value};

/// What separates an address from a directory.
const SCHEME_END: &str = "://";
/// What apt can fetch from (sources.list(5)).
const SCHEMES: [&str; 2] = ["http", "https"];
/// The part of a mirror that is looked at where none is named.
const DEFAULT_COMPONENT: &str = "main";

pub(super) fn archives(value: Value<'_>, surroundings: &Surroundings<'_>) -> Decoded<Vec<PackageArchive>> {
    value.list(|item| archive(item, surroundings.directory))
}

fn archive(value: Value<'_>, directory: &Path) -> Decoded<PackageArchive> {
    let text = value.filled_text()?;
    if text.starts_with('~') {
        let label = "only shells know `~`: write the path from the root, or from this file";
        return Err(value.report(format!("`{text}` is not a path of this project"), label));
    }
    let Some((scheme, _)) = text.split_once(SCHEME_END) else {
        return Ok(PackageArchive::Directory(directory.join(text)));
    };
    if !SCHEMES.contains(&scheme) {
        let label = "name a directory, or an address that begins with http:// or https://";
        return Err(value.report(
            format!("`{scheme}{SCHEME_END}` is nothing that packages are had from"),
            label,
        ));
    }
    let mut words = text.split_whitespace();
    let address = words.next().unwrap_or_default();
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "-._~:/?&=+%@,".contains(character);
    if let Some(word) = text.split_whitespace().find(|word| !word.chars().all(is_plain)) {
        let label = "write `ADDRESS`, or `ADDRESS RELEASE COMPONENT…`, as after `deb` in sources.list(5)";
        return Err(value.report(format!("`{word}` is no part of an address"), label));
    }
    let suite = words.next().map(str::to_owned);
    let mut components: Vec<String> = words.map(str::to_owned).collect();
    if components.is_empty() {
        components.push(DEFAULT_COMPONENT.to_owned());
    }
    Ok(PackageArchive::Address {
        address: address.to_owned(),
        suite,
        components,
    })
}
