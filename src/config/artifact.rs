//! `artifacts:`, `files:` and `into:` of a unit: what it ships, and where that lies in the bundle.

use std::collections::BTreeMap;

use crate::place::{FILE_NAME_LIMIT_BYTES, InvalidPlace, Place, in_the_way};
use crate::printable::is_plain;
use crate::yaml::{Decoded, Fields, Value};

use super::language_name::LanguageName;
use super::placed::Placed;
use super::project::{Contracts, ShippedFile, Unit};
use super::scope::{Expected, Scope, claim};
use super::{image_path, reserved};

/// The keys of an artifact that does not lie at the bundle's top under its own name.
const ARTIFACT_KEYS: &[&str] = &["file", "to", "install"];
/// The keys of a file that is shipped beside artifacts.
const FILE_KEYS: &[&str] = &["file", "to", "install", "fill"];
/// What stands for the system and the machine in a place.
const OS_PLACEHOLDER: &str = "{os}";
const ARCHITECTURE_PLACEHOLDER: &str = "{arch}";
/// The only system that artifacts are for, as Go calls it.
const OS: &str = "linux";

impl<'v> Placed<'v> {
    /// A host that is not compiled, under its name.
    pub(super) fn host(value: Value<'v>, name: &str) -> Decoded<Self> {
        Ok(Self {
            value,
            kind: "file",
            place: at_top(value, name)?,
            contract: None,
            is_at_top: true,
        })
    }
}

/// What a unit ships.
pub(super) struct Shipped {
    /// The files that its build yields.
    pub(super) artifacts: Vec<String>,
    /// Where those lie that do not lie at the top under their own names.
    pub(super) places: BTreeMap<String, Place>,
    /// In which directories of the image those are looked for that have one of their own.
    pub(super) installs: BTreeMap<String, String>,
    /// Files of the project.
    pub(super) files: Vec<ShippedFile>,
}

/// What a unit ships that is held to `contract`; `language` is the one whose own command makes the artifacts, which for all but Rust makes one.
pub(super) fn shipped<'v>(
    fields: &Fields<'v, '_>,
    contract: Option<&str>,
    language: Option<LanguageName>,
    scope: &mut Scope<'v, '_>,
) -> Decoded<Shipped> {
    let into = fields.optional("into", directory);
    let known = into.as_ref().ok().and_then(Option::as_ref);
    let contract = contract.map(str::to_owned);
    let mut shelf = Shelf {
        into: known,
        contract,
        architecture: scope.surroundings.architecture,
        placed: Vec::new(),
    };
    let artifacts = fields.required("artifacts", "the files that it yields: `[lib.so]`", |value| {
        artifacts(value, language, &mut shelf)
    });
    let files = fields.or("files", Vec::new(), |value| {
        value.list(|item| file(item, &mut shelf, scope))
    });
    scope.placed.append(&mut shelf.placed);
    into?;
    let (artifacts, files) = (artifacts?, files?);
    let places = artifacts
        .iter()
        .filter(|artifact| artifact.place.as_str() != artifact.name)
        .map(|artifact| (artifact.name.clone(), artifact.place.clone()))
        .collect();
    let installs = artifacts
        .iter()
        .filter_map(|artifact| Some((artifact.name.clone(), artifact.install.clone()?)))
        .collect();
    Ok(Shipped {
        artifacts: artifacts.into_iter().map(|artifact| artifact.name).collect(),
        places,
        installs,
        files,
    })
}

/// A file that a build yields.
struct Artifact {
    name: String,
    place: Place,
    install: Option<String>,
}

/// Where a unit's things are put.
struct Shelf<'v, 'a> {
    into: Option<&'a Place>,
    contract: Option<String>,
    architecture: &'static str,
    placed: Vec<Placed<'v>>,
}

impl<'v> Shelf<'v, '_> {
    fn put(&mut self, value: Value<'v>, kind: &'static str, place: Place) -> Decoded<Place> {
        let place = match self.into {
            Some(into) => place.below(into).map_err(|error| report_place(value, &error))?,
            None => place,
        };
        self.placed.push(Placed {
            value,
            kind,
            place: place.clone(),
            contract: self.contract.clone(),
            is_at_top: false,
        });
        Ok(place)
    }
}

fn artifacts<'v>(
    value: Value<'v>,
    language: Option<LanguageName>,
    shelf: &mut Shelf<'v, '_>,
) -> Decoded<Vec<Artifact>> {
    let yields_one = language.is_some_and(|language| language != LanguageName::Rust);
    let mut yielded = BTreeMap::new();
    let artifacts = value.list(|item| {
        let (name, to, install) = if item.is_mapping() {
            item.fields("an artifact", ARTIFACT_KEYS, |fields| {
                let name = fields.required("file", "the file that the build leaves in $LOCKSTEP_OUT", artifact_name);
                let to = fields.optional("to", |value| place(value, shelf.architecture));
                let install = fields.optional("install", image_path::directory);
                Ok((name?, to?, install?))
            })?
        } else {
            (artifact_name(item)?, None, None)
        };
        let place = match to {
            Some(place) => place,
            None => at_top(item, &name)?,
        };
        claim(&mut yielded, "artifact", &name, item)?;
        if yields_one && yielded.len() > 1 {
            let label = "add a `command:` that leaves all of them in $LOCKSTEP_OUT, or make it a plugin of its own";
            return Err(item.report("the language's own command yields one artifact", label));
        }
        let place = shelf.put(item, "artifact", place)?;
        Ok(Artifact { name, place, install })
    })?;
    if artifacts.is_empty() {
        return Err(value.report("a unit without artifacts", "name the files that it yields: `[lib.so]`"));
    }
    Ok(artifacts)
}

/// An entry of `files:`: a file of the project, or a directory with all that is in it.
fn file<'v>(item: Value<'v>, shelf: &mut Shelf<'v, '_>, scope: &Scope<'_, '_>) -> Decoded<ShippedFile> {
    let (path, to, install, fill) = if item.is_mapping() {
        item.fields("a file", FILE_KEYS, |fields| {
            let path = fields.required("file", "a file of the project", |value| {
                scope.path(value, Expected::FileOrDirectory)
            });
            let to = fields.optional("to", |value| place(value, shelf.architecture));
            let install = fields.optional("install", image_path::directory);
            let fill = fields.or("fill", false, Value::boolean);
            Ok((path?, to?, install?, fill?))
        })?
    } else {
        (scope.path(item, Expected::FileOrDirectory)?, None, None, false)
    };
    let place = match to {
        Some(place) => place,
        None => at_top(item, path.rsplit('/').next().unwrap_or_default())?,
    };
    let place = shelf.put(item, "file", place)?;
    Ok(ShippedFile {
        path,
        place,
        install,
        fill,
    })
}

/// `into:` of a unit or of a contract.
pub(super) fn directory(value: Value<'_>) -> Decoded<Place> {
    let text = value.filled_text()?;
    let place = Place::new(text).map_err(|error| report_place(value, &error))?;
    not_reserved(value, &place)?;
    Ok(place)
}

/// `to:`, with what stands for the system and the machine filled in.
fn place(value: Value<'_>, architecture: &str) -> Decoded<Place> {
    let text = value.filled_text()?;
    if text.ends_with('/') {
        let label = "write where the file itself lies, its name too";
        return Err(value.report(format!("`{text}` is a directory"), label));
    }
    let filled = text
        .replace(OS_PLACEHOLDER, OS)
        .replace(ARCHITECTURE_PLACEHOLDER, architecture);
    if let Some(start) = filled.find('{') {
        let unknown = filled[start..].split_inclusive('}').next().unwrap_or_default();
        let label = format!("there are `{OS_PLACEHOLDER}` and `{ARCHITECTURE_PLACEHOLDER}`");
        return Err(value.report(format!("`{unknown}` stands for nothing"), label));
    }
    let place = Place::new(filled).map_err(|error| report_place(value, &error))?;
    not_reserved(value, &place)?;
    Ok(place)
}

fn report_place(value: Value<'_>, error: &InvalidPlace) -> crate::yaml::Reported {
    value.report(
        error.to_string(),
        "write a path in the bundle, from its top on: `handlers/ip.so`",
    )
}

/// What lies at the bundle's top under its own name.
fn at_top(value: Value<'_>, name: &str) -> Decoded<Place> {
    let place = Place::new(name).map_err(|error| report_place(value, &error))?;
    not_reserved(value, &place)?;
    Ok(place)
}

fn not_reserved(value: Value<'_>, place: &Place) -> Decoded<()> {
    let first = place.as_str().split('/').next().unwrap_or_default();
    match reserved::artifact(first) {
        Some(taken) => Err(value.report(taken.message, taken.label)),
        None => Ok(()),
    }
}

/// Whether an artifact can be called so.
#[must_use]
pub fn is_artifact_name(text: &str) -> bool {
    !text.contains('/') && Place::new(text).is_ok() && reserved::artifact(text).is_none()
}

/// The name of a file that a build leaves.
fn artifact_name(value: Value<'_>) -> Decoded<String> {
    let text = value.filled_text()?;
    let problem = |label: &str| Err(value.report(format!("the artifact `{text}` is no plain file name"), label));
    if text.contains('/') {
        let last = text.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        return problem(&format!(
            "name the file alone, wherever the build puts it: `{last}`; `{{file: {last}, to: …}}` says where it lies"
        ));
    }
    if text == "." || text == ".." || text.starts_with('-') || !text.chars().all(is_plain) {
        return problem("write a name like `libshout.so`");
    }
    if text.len() > FILE_NAME_LIMIT_BYTES {
        return problem(&format!("write at most {FILE_NAME_LIMIT_BYTES} bytes"));
    }
    match reserved::artifact(text) {
        Some(taken) => Err(value.report(taken.message, taken.label)),
        None => Ok(text.to_owned()),
    }
}

/// Reports all that would lie where something else does, or in it. Where a contract puts its plugins is in `contracts`.
pub(super) fn claim_places(placed: &[Placed<'_>], contracts: &Contracts) -> Decoded<()> {
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    let claims: Vec<Decoded<()>> = placed
        .iter()
        .map(|placed| {
            let value = placed.value;
            let into = contracts
                .named(placed.contract.as_deref())
                .filter(|_| !placed.is_at_top)
                .and_then(|contract| contract.into.as_ref());
            let place = match into {
                Some(into) => placed.place.below(into).map_err(|error| report_place(value, &error))?,
                None => placed.place.clone(),
            };
            let place = place.as_str();
            match in_the_way(&taken, place) {
                Some((other, line)) if other.len() < place.len() => {
                    let message = format!("`{place}` would lie in what is a file");
                    return Err(value.report(message, format!("the file is the one of line {line}")));
                }
                Some((inside, line)) if inside.len() > place.len() => {
                    let message = format!("`{place}` is a directory already");
                    return Err(value.report(message, format!("line {line} puts `{inside}` there")));
                }
                // What is given twice is told as such.
                _ => {}
            }
            let kind = if place == placed.place.file_name() {
                placed.kind
            } else {
                "place"
            };
            claim(&mut taken, kind, place, value)
        })
        .collect();
    claims.into_iter().collect()
}

/// Puts what a plugin ships into the directory of its contract. That it fits was seen before.
pub(super) fn put_into(unit: &mut Unit, into: &Place) {
    let below = |place: &Place| place.below(into).unwrap_or_else(|_| place.clone());
    unit.places = unit
        .places()
        .filter_map(|(name, place)| Some((name.to_owned(), below(&Place::new(place).ok()?))))
        .collect();
    for file in &mut unit.files {
        file.place = below(&file.place);
    }
}
