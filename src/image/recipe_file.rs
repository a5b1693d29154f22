//! The YAML form of a bootstrap recipe, and the files that it names.

use std::collections::BTreeMap;

use super::builtin::Builtin;
use super::packages::{is_requested_package, is_word};
use super::path::join;
use super::recipe::{Distribution, Ground, ImageDefaults, OwnFile, Recipe, Variant};
use super::recipe_files::RecipeFiles;
use crate::nearest::nearest;
use crate::problem::Problem;
use crate::yaml::{self, Decoded, Fields, Value};

/// What problems of recipes are filed under.
const CODE: &str = "recipe";
/// How many recipes may stand on each other.
const BASE_LIMIT_COUNT: usize = 8;

impl Recipe {
    /// Reads the recipe at `path`, its bases, and the files that they name.
    ///
    /// # Errors
    /// Every problem of every file.
    pub fn read(files: &dyn RecipeFiles, path: &str) -> Result<Self, Vec<Problem>> {
        read_at_depth(files, path, 0)
    }
}

fn read_at_depth(files: &dyn RecipeFiles, path: &str, depth: usize) -> Result<Recipe, Vec<Problem>> {
    let bytes = files.read(path).map_err(|cause| {
        let message = format!("failed to read the recipe: {cause}");
        vec![Problem::of_file(CODE, path, message, "see `lockstep explain recipe`")]
    })?;
    let mut problems_below = Vec::new();
    let (recipe, mut problems) = yaml::read(CODE, path, &bytes, "a recipe", |root| {
        root.fields("a recipe", &["bootstrap", "config"], |fields| {
            let defaults = fields.or("config", ImageDefaults::default(), defaults);
            let decoder = Decoder { files, path, depth };
            let section = fields.required("bootstrap", "what the image is made of", |value| {
                value.fields("a bootstrap", BOOTSTRAP_KEYS, |fields| {
                    decoder.recipe(fields, &mut problems_below)
                })
            });
            Ok(Recipe {
                defaults: defaults?,
                ..section?
            })
        })
    });
    problems.append(&mut problems_below);
    recipe.filter(|_| problems.is_empty()).ok_or(problems)
}

const BOOTSTRAP_KEYS: &[&str] = &[
    "base",
    "distribution",
    "exclude",
    "files",
    "links",
    "packages",
    "remove",
    "setup",
    "suite",
    "variant",
];

struct Decoder<'a> {
    files: &'a dyn RecipeFiles,
    path: &'a str,
    depth: usize,
}

impl Decoder<'_> {
    fn recipe(&self, fields: Fields<'_, '_>, problems_below: &mut Vec<Problem>) -> Decoded<Recipe> {
        let ground = match fields.exactly_one(&["base", "distribution"]) {
            Ok(("base", value)) => self.base(fields, value, problems_below),
            Ok((_, value)) => distribution(fields, value),
            Err(reported) => Err(reported),
        };
        let packages = list(fields, "packages", |value| {
            checked(value, "a package's name, or name=version", is_requested_package)
        });
        let exclude = list(fields, "exclude", |value| {
            checked(value, "an absolute path with dpkg's wildcards `*` and `?`", |text| {
                text.starts_with('/') && !text.contains('\n')
            })
        });
        let remove = list(fields, "remove", |value| {
            checked(value, "a path or pattern without a slash before it", |text| {
                !text.starts_with('/') && globset::Glob::new(text).is_ok()
            })
        });
        let setup = list(fields, "setup", |value| value.filled_text().map(str::to_owned));
        let links = fields.or("links", vec![], |value| {
            value.entries(|key, value| {
                let path = checked(key, "a path without a slash before it", is_plain_path);
                let target = value.filled_text().map(str::to_owned);
                Ok((path?, target?))
            })
        });
        let files = list(fields, "files", |value| self.own_file(value));
        let (ground, packages) = (ground?, packages?);
        Ok(Recipe {
            name: self.path.strip_suffix(".yaml").unwrap_or(self.path).to_owned(),
            ground,
            packages,
            exclude: exclude?,
            links: links?.into_iter().collect(),
            files: files?,
            setup: setup?,
            remove: remove?,
            defaults: ImageDefaults::default(),
            keeps_base: false,
        })
    }

    fn base(&self, fields: Fields<'_, '_>, value: Value<'_>, problems_below: &mut Vec<Problem>) -> Decoded<Ground> {
        let others: Vec<_> = ["suite", "variant", "links"]
            .iter()
            .filter_map(|key| fields.get(key))
            .map(|other| other.report("this is the base's affair", "remove it, or do not name a base"))
            .collect();
        let (files, path) = if value.is_mapping() {
            let builtin = value.fields("a base that comes with lockstep", &["builtin"], |fields| {
                fields.required("builtin", "the recipe's name", builtin)
            })?;
            (&Builtin as &dyn RecipeFiles, builtin)
        } else {
            (self.files, self.beside(value)?)
        };
        if let Some(reported) = others.last() {
            return Err(*reported);
        }
        if self.depth >= BASE_LIMIT_COUNT {
            let message = format!("more than {BASE_LIMIT_COUNT} recipes stand on each other");
            return Err(value.report(message, "is the base its own base?"));
        }
        match read_at_depth(files, &path, self.depth + 1) {
            Ok(base) => Ok(Ground::Base(Box::new(base))),
            Err(mut problems) => {
                problems_below.append(&mut problems);
                Err(value.report("the base has problems of its own", "see below"))
            }
        }
    }

    fn own_file(&self, value: Value<'_>) -> Decoded<OwnFile> {
        const KEYS: &[&str] = &["content", "directory", "from", "mode", "owner", "to"];
        value.fields("a file", KEYS, |fields| {
            let source = fields.exactly_one(&["from", "content", "directory"]);
            let mode = fields.optional("mode", |value| {
                let text = value.text()?;
                u32::from_str_radix(text, 8)
                    .ok()
                    .filter(|mode| *mode <= 0o7777)
                    .ok_or_else(|| value.report("these are no permissions", "octal digits in quotes, as in \"0644\""))
            });
            let owner = fields.or("owner", 0, |value| value.integer(0..=i64::from(u32::MAX)));
            let path = |value: Value<'_>| {
                let path = checked(value, "an absolute path in the image", |text| {
                    text.strip_prefix('/').is_some_and(is_plain_path)
                });
                path.map(|path| path[1..].to_owned())
            };
            let (place, content) = match source? {
                ("directory", directory) => (path(directory), Ok(None)),
                (key, source) => {
                    let content = if key == "from" {
                        self.beside(source).and_then(|path| {
                            self.files
                                .read(&path)
                                .map_err(|cause| source.report(format!("failed to read {path}: {cause}"), "named here"))
                        })
                    } else {
                        source.text().map(|text| text.as_bytes().to_vec())
                    };
                    (fields.required("to", "where it goes", path), content.map(Some))
                }
            };
            let (place, content) = (place?, content?);
            let default_mode = if content.is_some() { 0o644 } else { 0o755 };
            Ok(OwnFile {
                path: place,
                content,
                mode: mode?.unwrap_or(default_mode),
                owner: u32::try_from(owner?).unwrap_or_default(),
            })
        })
    }

    fn beside(&self, value: Value<'_>) -> Decoded<String> {
        let text = value.filled_text()?;
        join(self.path, text).map_err(|_| {
            value.report(
                "this leads outside",
                "a path below the directory that all recipes are in",
            )
        })
    }
}

/// The path of a recipe that comes with lockstep.
fn builtin(value: Value<'_>) -> Decoded<String> {
    let name = value.filled_text()?;
    let known = || Builtin::names().filter(|name| Builtin::dockerfile(name).is_none());
    if known().any(|known| known == name) {
        return Ok(format!("{name}.yaml"));
    }
    let label = match nearest(name, known()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("there are `{}`", known().collect::<Vec<_>>().join("`, `")),
    };
    Err(value.report(format!("no recipe `{name}` comes with lockstep"), label))
}

fn distribution(fields: Fields<'_, '_>, value: Value<'_>) -> Decoded<Ground> {
    let distribution = value.one_of("distribution", &[("debian", Distribution::Debian)]);
    let suite = fields.required("suite", "a release, such as trixie", |value| {
        checked(value, "a release's name, such as trixie", |text| is_word(text, b"-."))
    });
    let variant = fields.required("variant", "`extract` or `apt`", |value| {
        value.one_of("variant", &[("extract", Variant::Extract), ("apt", Variant::Apt)])
    });
    Ok(Ground::Distribution {
        distribution: distribution?,
        suite: suite?,
        variant: variant?,
    })
}

fn defaults(value: Value<'_>) -> Decoded<ImageDefaults> {
    value.fields("what containers start with", &["env", "user", "workdir"], |fields| {
        let env = fields.or("env", vec![], |value| {
            value.entries(|key, value| {
                let name = checked(key, "a variable's name", |text| {
                    !text.is_empty() && !text.contains(['=', '\n'])
                });
                let value = value.word().map(str::to_owned);
                Ok((name?, value?))
            })
        });
        let text = |key| fields.or(key, String::new(), |value| value.filled_text().map(str::to_owned));
        let (user, workdir) = (text("user"), text("workdir"));
        Ok(ImageDefaults {
            env: BTreeMap::from_iter(env?),
            user: user?,
            workdir: workdir?,
        })
    })
}

fn list<T>(fields: Fields<'_, '_>, key: &'static str, decode: impl FnMut(Value<'_>) -> Decoded<T>) -> Decoded<Vec<T>> {
    fields.or(key, vec![], |value| value.list(decode))
}

fn checked(value: Value<'_>, expected: &str, is_good: impl FnOnce(&str) -> bool) -> Decoded<String> {
    let text = value.filled_text()?;
    if is_good(text) {
        Ok(text.to_owned())
    } else {
        Err(value.report(
            format!("`{}` cannot be used", text.escape_debug()),
            format!("expected {expected}"),
        ))
    }
}

/// A relative path without empty, `.` and `..` parts.
fn is_plain_path(path: &str) -> bool {
    !path.contains('\n') && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Map(BTreeMap<&'static str, &'static str>);

    impl RecipeFiles for Map {
        fn read(&self, path: &str) -> Result<Vec<u8>, String> {
            self.0
                .get(path)
                .map(|text| text.as_bytes().to_vec())
                .ok_or_else(|| "no such file".to_owned())
        }
    }

    const LOWER: &str = "bootstrap: {distribution: debian, suite: trixie, variant: apt, packages: [gcc]}\n\
                         config: {user: '1:1', env: {A: 1, B: '1'}}\n";

    fn read(files: &[(&'static str, &'static str)], path: &str) -> Result<Recipe, Vec<Problem>> {
        Recipe::read(&Map(files.iter().copied().collect()), path)
    }

    #[test]
    fn a_recipe_stands_on_another() {
        let upper = "bootstrap:\n  base: ../d/build.yaml\n  files: [{from: x.c, to: /usr/x.c, mode: '0600'}]\n\
                     config: {env: {B: 2}}\n";
        let files = [
            ("i/m/build.yaml", upper),
            ("i/d/build.yaml", LOWER),
            ("i/m/x.c", "int x;"),
        ];
        let recipe = read(&files, "i/m/build.yaml").unwrap();
        assert_eq!(recipe.suite(), "trixie");
        assert_eq!(recipe.name, "i/m/build");
        assert_eq!(recipe.files[0].mode, 0o600);
        assert_eq!(recipe.files[0].content.as_deref(), Some(&b"int x;"[..]));
        let defaults = recipe.merged_defaults();
        assert_eq!(defaults.user, "1:1");
        assert_eq!(defaults.env.values().collect::<Vec<_>>(), ["1", "2"]);
    }

    #[test]
    fn a_recipe_stands_on_one_that_comes_with_lockstep() {
        let text = "bootstrap: {base: {builtin: debian/build}, packages: [cmake], files: [{from: x.c, to: /x.c}]}";
        let recipe = read(&[("i/own.yaml", text), ("i/x.c", "int x;")], "i/own.yaml").unwrap();
        let builtin = Recipe::read(&Builtin, "debian/build.yaml").unwrap();
        assert_eq!(recipe.ground, Ground::Base(Box::new(builtin.clone())));
        assert_eq!(recipe.packages, ["cmake"]);
        let extended = Recipe::extending(builtin.clone(), vec!["cmake".to_owned()]);
        assert_eq!(extended.name, "debian/build-build");
        let plain = Recipe {
            keeps_base: false,
            ..extended.clone()
        };
        assert_ne!(extended.digest(), plain.digest());
    }

    #[test]
    fn everything_but_its_place_is_in_the_digest() {
        let digest = |text: &'static str| read(&[("a.yaml", text)], "a.yaml").unwrap().digest();
        let elsewhere = read(&[("x/b.yaml", LOWER)], "x/b.yaml").unwrap().digest();
        assert_eq!(digest(LOWER), elsewhere);
        let mut seen = vec![digest(LOWER)];
        for section in [
            "suite: forky, variant: apt, packages: [gcc]",
            "suite: trixie, variant: extract, packages: [gcc]",
            "suite: trixie, variant: apt, exclude: [/gcc]",
            "suite: trixie, variant: apt, setup: [gcc]",
            "suite: trixie, variant: apt, remove: [gcc]",
            "suite: trixie, variant: apt, links: {gcc: x}",
            "suite: trixie, variant: apt, files: [{content: gcc, to: /x}]",
            "suite: trixie, variant: apt, files: [{content: gcc, to: /x, owner: 1}]",
            "suite: trixie, variant: apt, files: [{directory: /x}]",
            "suite: trixie, variant: apt}\nconfig: {user: gcc",
            "suite: trixie, variant: apt}\nconfig: {workdir: gcc",
        ] {
            let text = format!("bootstrap: {{distribution: debian, {section}}}");
            let digest = digest(text.leak());
            assert!(!seen.contains(&digest), "{section}");
            seen.push(digest);
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        let ground = "distribution: debian, suite: trixie, variant: apt";
        for (section, expected) in [
            ("base: ../../x.yaml", "this leads outside"),
            ("base: a.yaml", "recipes stand on each other"),
            ("base: b.yaml", "no such file"),
            ("base: b.yaml, suite: trixie", "this is the base's affair"),
            ("base: {builtin: debian/biuld}", "did you mean `debian/build`?"),
            ("base: {builtin: alpine/build}", "no recipe `alpine/build` comes"),
            ("base: {file: x.yaml}", "unknown key `file`"),
            ("suite: trixie", "`base` and `distribution`"),
            ("GROUND, package: [gcc]", "did you mean `packages`?"),
            ("GROUND, packages: ['-oX=1']", "expected a package's name"),
            ("GROUND, packages: ['a b']", "expected a package's name"),
            (
                "distribution: debian, suite: '$(x)', variant: apt",
                "expected a release's name",
            ),
            (
                "distribution: fedora, suite: trixie, variant: apt",
                "known are `debian`",
            ),
            ("GROUND, files: [{content: x, to: x}]", "expected an absolute path"),
            ("GROUND, files: [{content: x, to: /../x}]", "expected an absolute path"),
            ("GROUND, files: [{content: x}]", "the key `to` is missing"),
            ("GROUND, files: [{content: x, to: /x, mode: '9'}]", "no permissions"),
            ("GROUND, files: [{from: /etc/passwd, to: /x}]", "this leads outside"),
            ("GROUND, files: [{from: y, to: /x}]", "failed to read y"),
            ("GROUND, links: {../x: y}", "expected a path"),
            ("GROUND, remove: [/usr]", "expected a path or pattern"),
            ("GROUND, remove: ['[']", "expected a path or pattern"),
            ("GROUND, exclude: [usr]", "expected an absolute path"),
        ] {
            let text = format!("bootstrap: {{{}}}", section.replace("GROUND", ground));
            let unpacked = "bootstrap: {distribution: debian, suite: trixie, variant: extract}";
            let files = [("a.yaml", &*text.leak()), ("x.yaml", unpacked)];
            let problems = read(&files, "a.yaml").unwrap_err();
            let text: String = problems.iter().map(ToString::to_string).collect();
            assert!(text.contains(expected), "{section}: {text}");
        }
    }

    #[test]
    fn all_problems_show_at_once() {
        let text =
            "bootstrap: {distribution: fedora, suite: '', variant: x, packages: ['-a', '-b']}\nconfig: {usr: x}\n";
        assert_eq!(read(&[("a.yaml", text)], "a.yaml").unwrap_err().len(), 6);
    }
}
