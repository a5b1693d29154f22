//! Random scenarios: small graphs of libraries with symbols of every kind, versions, search paths, damaged copies and newer
//! releases than were linked with. Every function returns a number that says which definition it is, so that what is
//! bound wrongly is seen even where nothing is said. Made from a seed alone.

use std::fmt::Write as _;

use crate::case::{Case, Host, Libc, Object, Placed};

/// How many numbers each plugin is asked for; more than any has are answered with [`NOTHING`].
const ITEMS_LIMIT_COUNT: usize = 16;
const LIBRARIES_LIMIT_COUNT: u64 = 4;
const PLUGINS_LIMIT_COUNT: u64 = 3;
const NOTHING: i64 = 7;
/// What is answered for something weak that nobody defines.
const ABSENT: i64 = 9;
/// Added to a number for what an old version is in a newer release.
const NEWER: i64 = 5;

/// Steele, Lea and Flood's splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    fn word(&mut self, from: &[&'static str]) -> &'static str {
        from[self.below(from.len() as u64) as usize]
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Function,
    Indirect,
    Data,
    Thread,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Binding {
    Global,
    Weak,
    Unique,
    Protected,
}

/// In which version a symbol is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Version {
    None,
    Default(&'static str),
    /// For old programs alone.
    Hidden(&'static str),
    /// The old number is hidden, a newer one the default.
    Both(&'static str, &'static str),
}

#[derive(Debug, Clone)]
struct Definition {
    name: String,
    kind: Kind,
    binding: Binding,
    value: i64,
    version: Version,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Call,
    CallWithoutPlt,
    PointerInData,
    Read,
    Dynamic,
    InitialExec,
}

#[derive(Debug, Clone)]
struct Reference {
    name: String,
    style: Style,
    weak: bool,
    /// What it is meant to reach.
    right: i64,
}

/// One release of a library, or a plugin.
#[derive(Debug, Clone)]
struct Release {
    definitions: Vec<Definition>,
    is_versioned: bool,
}

#[derive(Debug, Clone)]
struct Library {
    file: String,
    soname: Option<String>,
    linked: Release,
    run: Release,
    references: Vec<Reference>,
    /// Indices of libraries, in the order of the command line.
    needs: Vec<usize>,
    /// `visit` functions by number, and what they are meant to answer.
    items: Vec<i64>,
    flags: String,
    needs_libc: bool,
    directory: &'static str,
}

impl Library {
    fn defines(&self, name: &str) -> bool {
        let mut definitions = self.linked.definitions.iter().chain(&self.run.definitions);
        definitions.any(|definition| definition.name == name)
    }
}

/// The scenarios of a seed.
pub(crate) fn scenarios(seed: u64, count: usize) -> Vec<Case> {
    (0..count)
        .map(|index| {
            // Each has a seed of its own, so that one of them is the same in a run of any length.
            let mut random = Random(seed.wrapping_mul(1_000_003).wrapping_add(index as u64));
            random.next();
            scenario(&mut random, &format!("random-{seed}-{index}"))
        })
        .collect()
}

fn scenario(random: &mut Random, name: &str) -> Case {
    let libraries_count = random.below(LIBRARIES_LIMIT_COUNT + 1) as usize;
    let plugins_count = 1 + random.below(PLUGINS_LIMIT_COUNT) as usize;
    let host_exports = random.percent(50);
    let host_value = |index: i64| 9000 + index;
    let host_names = ["h0", "h1", "x0"];
    let mut libraries: Vec<Library> = Vec::new();
    for index in 0..libraries_count {
        let made = library(random, index, &libraries, host_exports);
        libraries.push(made);
    }
    let mut plugins: Vec<Library> = Vec::new();
    for index in 0..plugins_count {
        let made = plugin(random, index, &libraries, &plugins, host_exports);
        plugins.push(made);
    }
    let mut case = Case {
        name: name.to_owned(),
        shows: "a random scenario".to_owned(),
        ..Case::default()
    };
    let mut host_needs: Vec<usize> = (0..libraries_count).filter(|_| random.percent(15)).collect();
    // A host whose own start fails says nothing of its plugins; some of those are enough.
    if random.percent(70) {
        host_needs.truncate(1);
    }
    let variable = random.percent(60);
    for (index, library) in libraries.iter().enumerate() {
        emit(
            &mut case,
            library,
            &library.run,
            &format!("run/{}", library.file),
            &libraries,
            random,
            variable,
        );
        // What others are linked with needs names alone.
        let names = Library {
            references: Vec::new(),
            needs: Vec::new(),
            ..library.clone()
        };
        emit(
            &mut case,
            &names,
            &library.linked,
            &format!("link/{}", library.file),
            &libraries,
            random,
            variable,
        );
        if random.percent(95) {
            let path = format!(
                "{}/{}",
                library.directory,
                library.soname.as_ref().unwrap_or(&library.file)
            );
            let object = Some(format!("run/{}", library.file));
            case.files.insert(
                path,
                Placed {
                    object,
                    ..Placed::default()
                },
            );
        }
        if random.percent(8) {
            add_decoy(&mut case, library, random);
        }
        let _ = index;
    }
    for plugin in &plugins {
        emit(
            &mut case,
            plugin,
            &plugin.run,
            &plugin.file,
            &libraries,
            random,
            variable,
        );
    }
    case.ldconfig = libraries.iter().any(|library| library.directory == "/usr/local/lib") && random.percent(80);
    case.files.insert(
        "/etc/ld.so.conf".to_owned(),
        Placed {
            text: Some("/usr/local/lib\n".to_owned()),
            ..Placed::default()
        },
    );
    if random.percent(30) {
        case.files.insert(
            "/etc/ld-musl-x86_64.path".to_owned(),
            Placed {
                absent: true,
                ..Placed::default()
            },
        );
    }
    if variable {
        case.env.insert("LD_LIBRARY_PATH".to_owned(), "/opt/lib".to_owned());
    }
    if random.percent(3) {
        case.env.insert("LD_BIND_NOW".to_owned(), "1".to_owned());
    }
    let mut host_code = String::new();
    // What a host takes over of a library that it was linked with itself is between the two.
    let is_taken_over = |name: &str| loaded_with(&host_needs, &libraries).any(|library| library.defines(name));
    for (index, name) in host_names.iter().enumerate().filter(|(_, name)| !is_taken_over(name)) {
        writeln!(host_code, "int {name}(void) {{ return {}; }}", host_value(index as i64)).unwrap();
    }
    let mut host_flags = if host_exports {
        "-rdynamic".to_owned()
    } else {
        "-Wl,--no-export-dynamic".to_owned()
    };
    if random.percent(80) {
        host_flags.push_str(&run_path(random, &host_needs, &libraries));
    }
    case.host = Host {
        c: Some(host_code),
        flags: format!("{host_flags} -Wl,--no-as-needed"),
        link: host_needs
            .iter()
            .map(|index| format!("link/{}", libraries[*index].file))
            .collect(),
        ..Host::default()
    };
    case.plugins = plugins.iter().map(|plugin| plugin.file.clone()).collect();
    case.calls = (0..ITEMS_LIMIT_COUNT).map(|index| format!("r{index}")).collect();
    case.flags = random.percent(35).then(|| "lazy".to_owned());
    case.scope = random.percent(45).then(|| "global".to_owned());
    case.loose = Some("musl names the symbol of the relocation before in its message about initial-exec".to_owned());
    let uses_initial_exec = |library: &Library| library.references.iter().any(|one| one.style == Style::InitialExec);
    if !libraries.iter().chain(&plugins).any(uses_initial_exec) {
        case.loose = None;
    }
    case.healthy = Some(plugins.iter().map(right_answers).collect());
    give_rights(&mut case, random);
    if random.percent(20) {
        add_plugin_with_token(&mut case, random);
    }
    case
}

/// One more plugin, whose only library is found by a token: in `DT_NEEDED`, or somewhere in a search path.
fn add_plugin_with_token(case: &mut Case, random: &mut Random) {
    const ANSWER: i64 = 77;
    let (of_library, of_plugin, directory) = *random.pick(&[
        ("-Wl,-soname,{origin}/lib/libtoken.so", "", "/app/lib"),
        ("", "-Wl,--enable-new-dtags,-rpath,{origin}/lib", "/app/lib"),
        ("", "-Wl,--disable-new-dtags,-rpath,{origin}/lib", "/app/lib"),
        ("", "-Wl,--enable-new-dtags,-rpath,/opt{origin}", "/opt/app"),
        (
            "",
            "-Wl,--enable-new-dtags,-rpath,{origin}/../usr/'$LIB'/token",
            "/usr/lib/x86_64-linux-gnu/token",
        ),
    ]);
    let mut answers = vec![NOTHING; ITEMS_LIMIT_COUNT];
    answers[0] = ANSWER;
    let mut code = "int token(void);\nint r0(void) { return token(); }\n".to_owned();
    for (index, answer) in answers.iter().enumerate().skip(1) {
        writeln!(code, "int r{index}(void) {{ return {answer}; }}").unwrap();
    }
    case.objects.push(Object {
        name: "libtoken.so".to_owned(),
        c: Some(format!("int token(void) {{ return {ANSWER}; }}\n")),
        flags: of_library.to_owned(),
        ..Object::default()
    });
    case.objects.push(Object {
        name: "ptoken.so".to_owned(),
        c: Some(code),
        flags: of_plugin.to_owned(),
        link: vec!["libtoken.so".to_owned()],
        ..Object::default()
    });
    let library = Placed {
        object: Some("libtoken.so".to_owned()),
        ..Placed::default()
    };
    case.files.insert(format!("{directory}/libtoken.so"), library);
    case.plugins.push("ptoken.so".to_owned());
    case.healthy.get_or_insert_default().push(answers);
}

/// Some hosts are given rights: then their loader does not trust who starts them. Asked last, so that all else of a scenario is
/// what it was before there were such hosts.
fn give_rights(case: &mut Case, random: &mut Random) {
    let mut host = Placed {
        object: Some("host".to_owned()),
        ..Placed::default()
    };
    match random.below(20) {
        0 => host.mode = Some("4755".to_owned()),
        1 => host.mode = Some("2755".to_owned()),
        2 => host.capabilities = Some("kill=ep".to_owned()),
        // Without the effect of its own it counts for nothing where privileges cannot be gained.
        3 => host.capabilities = Some("kill=p".to_owned()),
        _ => return,
    }
    case.files.insert("/app/host".to_owned(), host);
}

fn right_answers(plugin: &Library) -> Vec<i64> {
    let mut answers = plugin.items.clone();
    answers.resize(ITEMS_LIMIT_COUNT, NOTHING);
    answers
}

/// Libraries and all that they need.
fn loaded_with<'l>(needs: &[usize], libraries: &'l [Library]) -> impl Iterator<Item = &'l Library> {
    let mut all = needs.to_vec();
    let mut next = 0;
    while let Some(index) = all.get(next).copied() {
        next += 1;
        let more: Vec<usize> = libraries[index]
            .needs
            .iter()
            .copied()
            .filter(|need| !all.contains(need))
            .collect();
        all.extend(more);
    }
    all.into_iter().map(|index| &libraries[index])
}

fn library(random: &mut Random, index: usize, before: &[Library], host_exports: bool) -> Library {
    let needs: Vec<usize> = (0..before.len()).filter(|_| random.percent(35)).collect();
    let is_versioned = random.percent(45);
    let file = format!("lib{index}.so");
    let soname = random.percent(60).then(|| {
        if random.percent(80) {
            file.clone()
        } else {
            format!("lib{index}.so.1")
        }
    });
    let linked = release(random, &format!("f{index}_"), index as i64 * 1000, is_versioned);
    let run = if random.percent(35) {
        newer(random, &linked)
    } else {
        linked.clone()
    };
    let directory = random.word(&[
        "/app",
        "/app",
        "/app/lib",
        "/app/lib",
        "/opt/lib",
        "{lib}",
        "/usr/local/lib",
    ]);
    let mut made = Library {
        file,
        soname,
        linked,
        run,
        references: Vec::new(),
        needs,
        items: Vec::new(),
        flags: link_flags(random),
        needs_libc: random.percent(50),
        directory,
    };
    made.references = references(random, &made, before, &[], host_exports);
    made.items = items(&made, before);
    made
}

fn plugin(random: &mut Random, index: usize, libraries: &[Library], before: &[Library], host_exports: bool) -> Library {
    let needs: Vec<usize> = (0..libraries.len()).filter(|_| random.percent(55)).collect();
    let own = release(random, &format!("p{index}_"), 5000 + index as i64 * 1000, false);
    let mut made = Library {
        file: format!("p{index}.so"),
        soname: None,
        linked: own.clone(),
        run: own,
        references: Vec::new(),
        needs,
        items: Vec::new(),
        flags: link_flags(random),
        needs_libc: random.percent(70),
        directory: "/app",
    };
    made.references = references(random, &made, libraries, before, host_exports);
    made.items = items(&made, libraries);
    made
}

fn link_flags(random: &mut Random) -> String {
    let mut flags = String::new();
    flags.push_str(random.word(&["", "", "", "-Bsymbolic", "-Bsymbolic-functions"]));
    flags.push_str(random.word(&["", " -z now", " -z lazy", " -z lazy"]));
    flags.push_str(random.word(&[" --hash-style=gnu", " --hash-style=sysv", " --hash-style=both"]));
    flags.push_str(random.word(&["", "", "", " -s", " -z pack-relative-relocs"]));
    if random.percent(3) {
        // Musl loads what must not be opened or wants another stack, and nothing in the answers tells.
        flags.push_str(random.word(&[
            " -z nodelete",
            " -z nodefaultlib",
            " -z global",
            " $(case $CC in gcc) echo -z nodlopen ;; esac)",
            " $(case $CC in gcc) echo -z execstack ;; esac)",
        ]));
    }
    flags
}

/// Names of its own, and sometimes one that others have too.
fn release(random: &mut Random, prefix: &str, base: i64, is_versioned: bool) -> Release {
    let count = 1 + random.below(4) as i64;
    let mut definitions: Vec<Definition> = (0..count)
        .map(|index| {
            let kind = *random.pick(&[
                Kind::Function,
                Kind::Function,
                Kind::Function,
                Kind::Data,
                Kind::Data,
                Kind::Thread,
                Kind::Indirect,
            ]);
            let kind = if kind == Kind::Indirect && random.percent(70) {
                Kind::Function
            } else {
                kind
            };
            let binding = match kind {
                Kind::Function => *random.pick(&[
                    Binding::Global,
                    Binding::Global,
                    Binding::Global,
                    Binding::Weak,
                    Binding::Protected,
                ]),
                Kind::Data => *random.pick(&[Binding::Global, Binding::Global, Binding::Weak, Binding::Unique]),
                _ => Binding::Global,
            };
            let version = match (is_versioned, random.below(6)) {
                (false, _) => Version::None,
                (true, 0..=3) => Version::Default("V1"),
                (true, 4) => Version::Default("V2"),
                (true, _) if kind == Kind::Function => Version::Both("V1", "V2"),
                (true, _) => Version::Default("V1"),
            };
            Definition {
                name: format!("{prefix}{index}"),
                kind,
                binding,
                value: base + (index + 1) * 10,
                version,
            }
        })
        .collect();
    if random.percent(35) {
        let name = random.word(&["x0", "x1"]).to_owned();
        let version = if is_versioned {
            Version::Default("V1")
        } else {
            Version::None
        };
        // Never weak: that is how compilers mark what is meant to be the same everywhere.
        let binding = Binding::Global;
        definitions.push(Definition {
            name,
            kind: Kind::Function,
            binding,
            value: base + 900,
            version,
        });
    }
    Release {
        definitions,
        is_versioned,
    }
}

/// What became of a release: one thing is different.
fn newer(random: &mut Random, old: &Release) -> Release {
    let mut new = old.clone();
    let at = random.below(new.definitions.len() as u64) as usize;
    let definition = &mut new.definitions[at];
    match random.below(10) {
        // What the host has as well would be the host's then, and no file tells that it was meant otherwise.
        0 if !definition.name.starts_with('x') => {
            new.definitions.remove(at);
        }
        1 | 8 | 9
            if old.is_versioned
                && definition.kind == Kind::Function
                && definition.version == Version::Default("V1") =>
        {
            definition.version = Version::Both("V1", "V2");
        }
        2 if old.is_versioned && definition.version == Version::Default("V1") => {
            definition.version = Version::Hidden("V1");
        }
        3 if !old.is_versioned => {
            new.is_versioned = true;
            for definition in &mut new.definitions {
                definition.version = Version::Default("V1");
            }
        }
        4 if old.is_versioned => {
            // The new version means something else.
            for definition in &mut new.definitions {
                if definition.version == Version::Default("V1") {
                    definition.version = Version::Default("V3");
                    definition.value += NEWER;
                }
            }
        }
        5 if definition.kind == Kind::Function && definition.version == Version::None => definition.kind = Kind::Data,
        6 if definition.kind == Kind::Data && definition.binding == Binding::Global => definition.kind = Kind::Thread,
        _ => {
            let version = if old.is_versioned {
                Version::Default("V2")
            } else {
                Version::None
            };
            let (kind, binding) = (Kind::Function, Binding::Global);
            new.definitions.push(Definition {
                name: "added".to_owned(),
                kind,
                binding,
                value: 4,
                version,
            });
        }
    }
    new
}

/// What a file refers to: its libraries' symbols as it was linked with them, its own, and now and then what it did not
/// ask for by name.
fn references(
    random: &mut Random,
    of: &Library,
    libraries: &[Library],
    plugins: &[Library],
    host_exports: bool,
) -> Vec<Reference> {
    let mut all = Vec::new();
    // What a library calls in itself is what it was compiled with.
    let own = &of.run.definitions;
    let count = random.below(5);
    for _ in 0..count {
        // As the linker decides: the file itself, then the libraries in the order of the command line.
        let visible = |name: &str| {
            let mut linked = own
                .iter()
                .chain(of.needs.iter().flat_map(|need| &libraries[*need].linked.definitions));
            linked.find(|definition| definition.name == name).cloned()
        };
        // What nobody linked and several have, the host perhaps, is anybody's: no file tells whose was meant.
        let is_meant = |definition: &Definition| !definition.name.starts_with('x');
        let chance = random.below(100);
        let candidates: Vec<Definition> = match chance {
            0..=64 => of
                .needs
                .iter()
                .flat_map(|need| libraries[*need].linked.definitions.clone())
                .collect(),
            65..=79 => own.clone(),
            80..=84 => libraries
                .iter()
                .flat_map(|library| library.run.definitions.clone())
                .filter(is_meant)
                .collect(),
            85..=89 => plugins
                .iter()
                .flat_map(|plugin| plugin.run.definitions.clone())
                .filter(is_meant)
                .collect(),
            _ => Vec::new(),
        };
        let reference = if let Some(definition) = (!candidates.is_empty()).then(|| random.pick(&candidates).clone()) {
            let definition = visible(&definition.name).unwrap_or(definition);
            let right = right_value(&definition);
            Reference {
                style: style(random, definition.kind),
                name: definition.name,
                weak: false,
                right,
            }
        } else if chance >= 98 {
            let kind = *random.pick(&[Kind::Function, Kind::Function, Kind::Data, Kind::Thread]);
            let name = match kind {
                Kind::Data => "no_data",
                Kind::Thread => "no_thread_local",
                _ => random.word(&["no_function", "no_such_function"]),
            };
            let name = name.to_owned();
            Reference {
                name,
                style: style(random, kind),
                weak: false,
                right: 0,
            }
        } else if chance >= 95 {
            let kind = *random.pick(&[Kind::Function, Kind::Data]);
            let style = match style(random, kind) {
                Style::Call => Style::CallWithoutPlt,
                other => other,
            };
            Reference {
                name: format!("weak{}", random.below(3)),
                style,
                weak: true,
                right: ABSENT,
            }
        } else if host_exports || random.percent(10) {
            let index = random.below(2);
            Reference {
                name: format!("h{index}"),
                style: style(random, Kind::Function),
                weak: false,
                right: 9000 + index as i64,
            }
        } else {
            continue;
        };
        if all.iter().all(|other: &Reference| other.name != reference.name) {
            all.push(reference);
        }
    }
    all
}

/// The default when it was linked.
fn right_value(definition: &Definition) -> i64 {
    match definition.version {
        Version::Both(..) => definition.value + NEWER,
        _ => definition.value,
    }
}

fn style(random: &mut Random, kind: Kind) -> Style {
    match kind {
        Kind::Function | Kind::Indirect => *random.pick(&[
            Style::Call,
            Style::Call,
            Style::Call,
            Style::CallWithoutPlt,
            Style::PointerInData,
        ]),
        Kind::Data => Style::Read,
        Kind::Thread => *random.pick(&[Style::Dynamic, Style::Dynamic, Style::InitialExec]),
    }
}

/// Its own references, and then the ones of its libraries, each by one function.
fn items(of: &Library, libraries: &[Library]) -> Vec<i64> {
    let own = of.references.iter().map(|reference| reference.right);
    let below = of.needs.iter().flat_map(|need| libraries[*need].items.iter().copied());
    own.chain(below).take(ITEMS_LIMIT_COUNT).collect()
}

/// A search path that mostly leads to what is needed.
fn run_path(random: &mut Random, needs: &[usize], libraries: &[Library]) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for need in needs {
        let part = match libraries[*need].directory {
            "/app" => "$ORIGIN",
            "/app/lib" => "$ORIGIN/lib",
            "/opt/lib" => "/opt/lib",
            _ => continue,
        };
        if random.percent(92) && !parts.contains(&part) {
            parts.push(part);
        }
    }
    if random.percent(6) {
        parts.insert(
            0,
            random.word(&["/nowhere", "", "$LIB", "lib", "${ORIGIN}/lib", "/opt/$PLATFORM"]),
        );
    }
    if parts.is_empty() {
        return String::new();
    }
    let tags = if random.percent(50) { "enable" } else { "disable" };
    format!(" -Wl,--{tags}-new-dtags,-rpath,'{}'", parts.join(":"))
}

/// A file of the library's name where it might be found first.
fn add_decoy(case: &mut Case, library: &Library, random: &mut Random) {
    let directory = random.word(&["/app", "/app/lib", "/opt/lib", "{lib}"]);
    let path = format!("{directory}/{}", library.soname.as_ref().unwrap_or(&library.file));
    if directory == library.directory || case.files.contains_key(&path) {
        return;
    }
    let object = Some(format!("run/{}", library.file));
    // Musl would load most of them, and run well, as only the label is wrong.
    let patched = |change: &str| Placed {
        object: object.clone(),
        patch: vec![change.to_owned()],
        only: Some(Libc::Glibc),
        ..Placed::default()
    };
    let decoy = match random.below(8) {
        0 => patched("byte 4 1"),
        1 | 2 => patched("half 18 183"),
        3 => patched("truncate 100"),
        4 => patched("byte 7 9"),
        5 => Placed {
            text: Some("INPUT ( -lnothing ) and a few words more, which make it longer than a header is\n".to_owned()),
            ..Placed::default()
        },
        6 => Placed {
            object,
            mode: Some("000".to_owned()),
            ..Placed::default()
        },
        _ => Placed {
            object,
            ..Placed::default()
        },
    };
    case.files.insert(path, decoy);
}

/// The sources and the commands for one file.
fn emit(
    case: &mut Case,
    library: &Library,
    release: &Release,
    name: &str,
    libraries: &[Library],
    random: &mut Random,
    variable: bool,
) {
    let is_plugin = library.soname.is_none() && name.starts_with('p');
    let source = format!("{}.s", name.replace('/', "-"));
    case.sources
        .insert(source.clone(), assembly(library, release, is_plugin, libraries));
    let mut command = format!(
        "mkdir -p run link; as -o {source}.o {source}; ld -shared -z noexecstack {} -o {name} {source}.o",
        library.flags
    );
    if let Some(soname) = &library.soname {
        write!(command, " -soname {soname}").unwrap();
    }
    if release.is_versioned {
        let script = format!("{source}.map");
        case.sources.insert(script.clone(), version_script(release));
        write!(command, " --version-script={script}").unwrap();
    }
    // Where LD_LIBRARY_PATH helps, a path of its own is needed less often.
    if random.percent(if variable { 75 } else { 90 }) {
        command.push_str(
            &run_path(random, &library.needs, libraries)
                .replace(" -Wl,", " ")
                .replace(",-rpath,", " -rpath "),
        );
    }
    for need in &library.needs {
        write!(command, " -Llink -l:{}", libraries[*need].file).unwrap();
    }
    if library.needs_libc {
        // The C library's own linker script where there is one, and musl itself where there is none.
        command.push_str(" $(case $CC in musl-gcc) echo -L/usr/lib/x86_64-linux-musl -l:libc.so ;; *) echo -L/usr/lib/x86_64-linux-gnu -lc ;; esac)");
    }
    case.objects.push(Object {
        name: name.to_owned(),
        shell: Some(command),
        ..Object::default()
    });
}

fn version_script(release: &Release) -> String {
    let mut text = String::from("V1 { first };\nV2 { second } V1;\nV3 { third } V2;\n");
    for (node, marker) in [("V1", "first"), ("V2", "second"), ("V3", "third")] {
        let names: Vec<&str> = release
            .definitions
            .iter()
            .filter(|definition| match definition.version {
                Version::Default(version) | Version::Hidden(version) => version == node,
                Version::Both(old, new) => old == node || new == node,
                Version::None => false,
            })
            .map(|definition| definition.name.as_str())
            .collect();
        let visits = if node == "V1" { "visit*;" } else { "" };
        let names: String = names.iter().map(|name| format!(" {name};")).collect();
        text = text.replace(marker, &format!("{visits}{names}"));
    }
    text
}

fn assembly(library: &Library, release: &Release, is_plugin: bool, libraries: &[Library]) -> String {
    let mut text = String::new();
    for definition in &release.definitions {
        match &definition.version {
            Version::None | Version::Default(_) => define(&mut text, definition, &definition.name, definition.value),
            Version::Hidden(version) => {
                let inner = format!("{}_old", definition.name);
                define(&mut text, definition, &inner, definition.value);
                writeln!(text, ".symver {inner}, {}@{version}, remove", definition.name).unwrap();
            }
            Version::Both(old, new) => {
                let (inner, outer) = (format!("{}_old", definition.name), format!("{}_new", definition.name));
                define(&mut text, definition, &inner, definition.value);
                define(&mut text, definition, &outer, definition.value + NEWER);
                writeln!(text, ".symver {inner}, {}@{old}, remove", definition.name).unwrap();
                writeln!(text, ".symver {outer}, {}@@{new}, remove", definition.name).unwrap();
            }
        }
    }
    let mut bodies: Vec<String> = library.references.iter().map(use_of).collect();
    for need in &library.needs {
        let needed = &libraries[*need];
        let prefix = visit_prefix(needed);
        bodies.extend(
            (0..needed.items.len())
                .map(|index| format!(" subq $8, %rsp\n call {prefix}{index}@PLT\n addq $8, %rsp\n ret\n")),
        );
    }
    bodies.truncate(ITEMS_LIMIT_COUNT);
    bodies.resize_with(library.items.len(), || format!(" movl ${NOTHING}, %eax\n ret\n"));
    let prefix = if is_plugin {
        "r".to_owned()
    } else {
        visit_prefix(library)
    };
    if is_plugin {
        bodies.resize_with(ITEMS_LIMIT_COUNT, || format!(" movl ${NOTHING}, %eax\n ret\n"));
    }
    for (index, body) in bodies.iter().enumerate() {
        writeln!(
            text,
            ".text\n.globl {prefix}{index}\n.type {prefix}{index}, @function\n{prefix}{index}:\n{body}"
        )
        .unwrap();
    }
    for reference in library.references.iter().filter(|reference| reference.weak) {
        writeln!(text, ".weak {}", reference.name).unwrap();
    }
    text.push_str(".section .note.GNU-stack,\"\",@progbits\n");
    text
}

fn visit_prefix(library: &Library) -> String {
    format!("visit_{}_", library.file.trim_end_matches(".so"))
}

fn define(text: &mut String, definition: &Definition, name: &str, value: i64) {
    let scope = match definition.binding {
        Binding::Weak => format!(".weak {name}"),
        Binding::Protected => format!(".globl {name}\n.protected {name}"),
        _ => format!(".globl {name}"),
    };
    let section = match definition.kind {
        Kind::Function | Kind::Indirect => ".text",
        Kind::Data => ".data",
        Kind::Thread => ".section .tdata,\"awT\",@progbits",
    };
    let kind = match (definition.kind, definition.binding) {
        (Kind::Function, _) => "@function",
        (Kind::Indirect, _) => "@gnu_indirect_function",
        (Kind::Data, Binding::Unique) => "@gnu_unique_object",
        (Kind::Data, _) => "@object",
        (Kind::Thread, _) => "@tls_object",
    };
    let body = match definition.kind {
        Kind::Function => format!(" movl ${value}, %eax\n ret"),
        Kind::Indirect => format!(" leaq {name}_chosen(%rip), %rax\n ret\n{name}_chosen: movl ${value}, %eax\n ret"),
        Kind::Data | Kind::Thread => format!(" .long {value}"),
    };
    writeln!(
        text,
        "{section}\n.balign 16\n{scope}\n.type {name}, {kind}\n{name}:\n{body}\n.size {name}, .-{name}"
    )
    .unwrap();
}

/// A function's body that brings the number of what is bound.
fn use_of(reference: &Reference) -> String {
    let name = &reference.name;
    let absent = match (reference.weak, reference.style) {
        (false, _) => String::new(),
        (true, Style::PointerInData) => {
            format!(" cmpq $0, pointer_{name}(%rip)\n jne 1f\n movl ${ABSENT}, %eax\n ret\n1:\n")
        }
        (true, _) => format!(" cmpq $0, {name}@GOTPCREL(%rip)\n jne 1f\n movl ${ABSENT}, %eax\n ret\n1:\n"),
    };
    let body = match reference.style {
        Style::Call => format!(" subq $8, %rsp\n call {name}@PLT\n addq $8, %rsp\n ret\n"),
        Style::CallWithoutPlt => format!(" subq $8, %rsp\n call *{name}@GOTPCREL(%rip)\n addq $8, %rsp\n ret\n"),
        Style::PointerInData => format!(
            " subq $8, %rsp\n call *pointer_{name}(%rip)\n addq $8, %rsp\n ret\n.data\n.balign 8\npointer_{name}: .quad {name}\n.text\n"
        ),
        Style::Read => format!(" movq {name}@GOTPCREL(%rip), %rax\n movl (%rax), %eax\n ret\n"),
        Style::Dynamic => format!(
            " subq $8, %rsp\n .byte 0x66\n leaq {name}@tlsgd(%rip), %rdi\n .word 0x6666\n rex64\n call __tls_get_addr@PLT\n movl (%rax), %eax\n addq $8, %rsp\n ret\n"
        ),
        Style::InitialExec => format!(" movq {name}@gottpoff(%rip), %rax\n movl %fs:(%rax), %eax\n ret\n"),
    };
    absent + &body
}
