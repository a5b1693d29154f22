//! Holds the absences that `ARCHITECTURE.md` states, where reading the sources can: each rule names what must not be
//! found, where it may be found all the same, and why.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// More files than the project will have; a link in a circle would end here.
const FILES_LIMIT: usize = 10_000;

/// What must not be found in lockstep's own sources.
struct Absence {
    /// The sentence of the architecture document.
    rule: &'static str,
    /// Where the rule holds: a directory or a file.
    within: &'static [&'static str],
    /// What breaks it; whole words.
    words: &'static [&'static str],
    /// Directories and files that it does not hold for.
    except: &'static [&'static str],
}

const ABSENCES: &[Absence] = &[
    Absence {
        rule: "no type of the engine's client library leaves src/engine/docker",
        within: &["src", "tests"],
        words: &["bollard"],
        except: &["src/engine/docker.rs", "src/engine/docker", "tests/architecture.rs"],
    },
    Absence {
        rule: "nothing prints outside src/report",
        within: &["src"],
        words: &[
            "println!",
            "eprintln!",
            "print!",
            "eprint!",
            "dbg!",
            "io::stdout",
            "io::stderr",
            "stdout()",
            "stderr()",
        ],
        except: &["src/report"],
    },
    Absence {
        rule: "HTTP with registries is in src/oci_registry alone",
        within: &["src", "tests"],
        words: &["reqwest"],
        except: &["src/oci_registry", "tests/architecture.rs"],
    },
    Absence {
        rule: "no unsafe outside loader/, the C interface of plugins, the map of a file and the allocators of tests",
        within: &["src", "tests"],
        words: &["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "unsafe trait"],
        except: &[
            "tests/architecture.rs",
            "tests/musl",
            "tests/hosts/workspace/work/host/src/main.rs",
            "src/rootfs/map.rs",
            "tests/hostile_inputs/counting_allocator.rs",
            "tests/facts/allocator.rs",
        ],
    },
    Absence {
        rule: "the time of day is read by the command line, and by the reporter that writes it before each line",
        within: &["src"],
        words: &["SystemTime::now", "UtcNow", "Timestamp::now"],
        except: &["src/cli/world.rs", "src/report/plain.rs"],
    },
    Absence {
        rule: "stopwatches are where something is shown, or where a wait has a limit",
        within: &["src"],
        words: &["Instant::now"],
        except: &[
            "src/report",
            "src/state.rs",
            "src/image/child.rs",
            "src/bundle/volume/lease.rs",
        ],
    },
    Absence {
        rule: "variables, arguments and the working directory come in through the context",
        within: &["src"],
        words: &[
            "env::var",
            "env::var_os",
            "env::vars",
            "env::vars_os",
            "env::args",
            "env::args_os",
            "env::current_dir",
            "env::home_dir",
            "env::temp_dir",
            "env::set_var",
        ],
        except: &["src/cli/world.rs"],
    },
    Absence {
        rule: "what decides is pure: it reads no file, clock, environment or engine, and runs nothing",
        within: PURE,
        words: &[
            "std::fs",
            "fs::read",
            "File::open",
            "regular_file",
            "temporary::",
            "std::net",
            "std::process",
            "Command::new",
            "SystemTime",
            "Instant",
            "std::env",
            "tokio",
            "async fn",
            "dyn Engine",
        ],
        except: &["src/lock/file.rs"],
    },
    Absence {
        rule: "the pure middle knows neither the run, the engine, the command line nor the printer",
        within: PURE,
        words: &[
            "crate::run",
            "crate::engine",
            "crate::cli",
            "crate::report",
            "crate::context",
        ],
        except: &["src/smoke/failure.rs"],
    },
    Absence {
        rule: "the configuration is parsed without a look at the disk: src/yaml/file.rs alone reads files",
        within: &["src/config", "src/yaml", "src/problem.rs"],
        words: &[
            "std::fs",
            "fs::",
            "File::open",
            "regular_file",
            "std::env",
            "SystemTime",
            "tokio",
        ],
        except: &["src/yaml/file.rs"],
    },
    Absence {
        rule: "what is temporary is made by src/temporary.rs, with a name and a lock by which it is swept",
        within: &["src"],
        words: &[
            "NamedTempFile::new",
            "tempfile::tempdir",
            "tempdir_in",
            "tempfile_in",
            "tempfile::Builder",
            "TempDir::new",
        ],
        except: &["src/temporary.rs"],
    },
    Absence {
        rule: "files are opened by src/regular_file.rs: what a name leads to may be a pipe, a device, or endless",
        within: &["src"],
        words: &[
            "fs::read(",
            "fs::read_to_string(",
            "fs::copy(",
            "File::open(",
            "OpenOptions",
        ],
        except: &[],
    },
    Absence {
        rule: "the engine, the images, the root file systems and the bundle know nothing of a run or of the command line",
        within: &[
            "src/engine",
            "src/image",
            "src/bundle",
            "src/source",
            "src/rootfs",
            "src/oci_registry",
            "src/credentials.rs",
            "src/docker_client.rs",
        ],
        words: &[
            "crate::run",
            "crate::cli",
            "crate::report",
            "crate::plan",
            "crate::config",
        ],
        except: &["src/bundle/manifest.rs"],
    },
];

/// The modules between what is read and what is done.
const PURE: &[&str] = &[
    "src/plan",
    "src/lock",
    "src/smoke",
    "src/matrix",
    "src/facts",
    "src/check",
    "src/inspect",
    "src/attestation",
    "src/comparison",
    "src/language",
    "src/known_hosts",
    "src/verify",
    "src/digest.rs",
    "src/name.rs",
    "src/nearest.rs",
];

#[test]
fn what_the_architecture_says_is_absent_is_absent() {
    let mut found = String::new();
    for absence in ABSENCES {
        for path in absence.within.iter().flat_map(|root| sources(Path::new(root))) {
            if absence.except.iter().any(|exception| path.starts_with(exception)) {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            for (number, line) in product_lines(&text) {
                for word in absence.words.iter().filter(|word| has_word(line, word)) {
                    let _ = writeln!(found, "{}:{number}: `{word}`, but {}", path.display(), absence.rule);
                }
            }
        }
    }
    assert!(found.is_empty(), "\n{found}");
}

/// An exception that excuses nothing hides the next mistake.
#[test]
fn every_exception_is_needed() {
    let mut idle = String::new();
    for absence in ABSENCES {
        for exception in absence.except.iter().filter(|path| **path != "tests/architecture.rs") {
            let is_used = sources(Path::new(exception)).iter().any(|path| {
                let text = fs::read_to_string(path).unwrap();
                product_lines(&text).any(|(_, line)| absence.words.iter().any(|word| has_word(line, word)))
            });
            if !is_used {
                let _ = writeln!(idle, "{exception} needs no exception from: {}", absence.rule);
            }
        }
    }
    assert!(idle.is_empty(), "\n{idle}");
}

/// The document and the sources name the same modules.
#[test]
fn the_architecture_names_every_module_and_no_other() {
    let document = fs::read_to_string("ARCHITECTURE.md").unwrap();
    let mut modules: Vec<String> = fs::read_dir("src")
        .unwrap()
        .map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(".rs").map_or(name.clone(), ToOwned::to_owned)
        })
        .filter(|name| !["lib", "main"].contains(&name.as_str()))
        .collect();
    modules.sort();
    for module in &modules {
        assert!(document.contains(&format!("`{module}`")), "`{module}` is not described");
    }
    for path in document
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.starts_with("src/"))
    {
        assert!(Path::new(path).exists(), "{path} does not exist");
    }
}

#[test]
fn words_are_found_where_they_are_words() {
    for (line, word, expected) in [
        ("    println!(\"x\");", "println!", true),
        ("    eprintln!(\"x\");", "println!", false),
        ("use bollard::Docker;", "bollard", true),
        ("let bollards = 1;", "bollard", false),
        ("let at = Instant::now();", "Instant::now", true),
        ("crate::runner::x", "crate::run", false),
        ("unsafe { f() }", "unsafe {", true),
    ] {
        assert_eq!(has_word(line, word), expected, "{word} in {line}");
    }
    let text = "//! bollard\nuse a; // bollard\n#[cfg(test)]\nmod tests {\n    bollard\n}\n";
    assert_eq!(product_lines(text).collect::<Vec<_>>(), [(2, "use a; ")]);
}

/// Every Rust source of `root`, sorted, without files of tests.
fn sources(root: &Path) -> Vec<PathBuf> {
    let mut pending = vec![root.to_owned()];
    let mut files = Vec::new();
    while let Some(path) = pending.pop() {
        assert!(
            files.len() + pending.len() < FILES_LIMIT,
            "too many files below {}",
            root.display()
        );
        if path.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && (path.starts_with("tests") || path.file_name().is_some_and(|name| name != "tests.rs"))
        {
            files.push(path);
        }
    }
    assert!(!files.is_empty(), "{} has no sources", root.display());
    files.sort();
    files
}

/// The lines of a source with their numbers, without comments, and without the tests at its end.
fn product_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| *line != "#[cfg(test)]")
        .map(|(index, line)| (index + 1, line.split("//").next().unwrap_or_default()))
        .filter(|(_, line)| !line.trim().is_empty())
}

/// Whether `line` has `word`, and not as a part of a longer name.
fn has_word(line: &str, word: &str) -> bool {
    let is_name = |character: char| character.is_alphanumeric() || character == '_';
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start]
            .chars()
            .next_back()
            .is_none_or(|character| !is_name(character));
        let after = line[start + word.len()..]
            .chars()
            .next()
            .is_none_or(|character| !is_name(character));
        let ends_in_name = word.chars().next_back().is_some_and(is_name);
        before && (after || !ends_in_name)
    })
}
