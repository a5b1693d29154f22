//! Images made for real, from the distribution's packages: the same image ID every time, on the engine, and nothing left
//! behind.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use common::batch::context;
use common::{TestResult, on_engine};
use lockstep::context::Context;
use lockstep::engine::job::{self, Job};
use lockstep::engine::{ContainerSpec, Engine, ImageId, MachineView, Network, ResourceLimits};
use lockstep::image::{
    Builtin, EntryKind, IMAGE_REPOSITORY, ImageCache, ImageError, LocalImage, LocalLayer, Machine, MakeRequest, Node,
    Recipe, RecipeFiles, Tree, image_key, image_tag, make, provide,
};
use lockstep::platform::architecture;
use tokio_util::sync::CancellationToken;

const EPOCH_SECONDS: u64 = 1_735_689_600;

/// A recipe that stands on the builtin ones, and differs from test to test.
struct Project(BTreeMap<String, String>);

impl RecipeFiles for Project {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        match self.0.get(path) {
            Some(text) => Ok(text.clone().into_bytes()),
            None => Builtin.read(path),
        }
    }
}

fn recipe(text: &str) -> Recipe {
    recipe_beside(&[], text)
}

/// A recipe with others beside it.
fn recipe_beside(others: &[(&str, &str)], text: &str) -> Recipe {
    let own = ("own/recipe.yaml", text);
    let all = others.iter().chain([&own]);
    let files = Project(
        all.map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
            .collect(),
    );
    Recipe::read(&files, "own/recipe.yaml").unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn builtin(name: &str) -> Recipe {
    Recipe::read(&Builtin, &format!("{name}.yaml")).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn machine(cache_directory: &Path) -> Machine {
    Machine::from_context(&Context {
        cache_directory: cache_directory.to_owned(),
        ..context()
    })
}

fn make_in(cache: &Path, recipe: &Recipe, cancel: &CancellationToken) -> Result<(LocalImage, bool), ImageError> {
    make(&MakeRequest {
        recipe,
        machine: &machine(cache),
        cache: &ImageCache::below(cache),
        epoch_seconds: EPOCH_SECONDS,
        refresh_before_seconds: None,
        cancel,
        progress: &|_| {},
    })
}

fn made(cache: &Path, recipe: &Recipe) -> (LocalImage, bool) {
    make_in(cache, recipe, &CancellationToken::new())
        .unwrap_or_else(|error| panic!("{error}\n{}", error.log_tail().join("\n")))
}

fn tree(image: &LocalImage) -> Tree {
    let mut tree = Tree::default();
    for layer in &image.layers {
        let applied = fs::File::open(&layer.path).map(|file| tree.apply(file));
        assert!(matches!(applied, Ok(Ok(()))), "{applied:?}");
    }
    tree
}

fn paths(tree: &Tree) -> Vec<String> {
    tree.iter()
        .map(|(path, _)| String::from_utf8_lossy(path).into_owned())
        .collect()
}

#[test]
fn an_image_that_is_made_twice_is_the_same_image() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let recipe = builtin("musl/runtime");
    let (image, was_there) = made(first.path(), &recipe);
    let (again, _) = made(second.path(), &recipe);
    assert!(!was_there);
    assert_eq!(again.id(), image.id());
    assert_eq!(again.diff_ids(), image.diff_ids());
    assert_eq!(again.packages, image.packages);
    let (cached, was_there) = made(first.path(), &recipe);
    assert!(was_there);
    assert_eq!(cached, image);

    let names: Vec<&str> = image.packages.iter().map(|package| package.name.as_str()).collect();
    assert_eq!(names, ["busybox-static", "musl"]);
    assert!(image.packages.iter().all(|package| package.hash.starts_with("sha256:")));
    let tree = tree(&image);
    let loader = tree
        .get(b"usr/lib/ld-musl-x86_64.so.1")
        .or_else(|| tree.get(b"usr/lib/ld-musl-aarch64.so.1"));
    assert!(loader.is_some_and(|node| matches!(node.entry.kind, EntryKind::Symlink(_))));
    for path in paths(&tree) {
        assert!(
            !path.contains("linux-gnu") && !path.contains("ld-linux"),
            "{path} is glibc's"
        );
        assert!(
            !path.starts_with("dev/") && !path.starts_with("tmp/"),
            "{path} is of the machine"
        );
    }
    // Every work directory is gone.
    let work = first.path().join("images/work");
    assert_eq!(fs::read_dir(work).unwrap().count(), 0);
}

#[test]
fn an_image_on_another_shares_its_layers_and_may_remove_from_them() {
    let cache = tempfile::tempdir().unwrap();
    let recipe = recipe(
        "bootstrap:
  base: ../musl/runtime.yaml
  files:
    - {content: hello, to: /etc/motd, mode: \"0600\", owner: 1000}
  setup:
    - rm /etc/os-release
    - echo made > /etc/made
    - test -s \"$SSL_CERT_FILE\" || test ! -e /etc/ssl
  remove: [usr/bin/ld-musl-config]
config: {env: {OWN: 1}}
",
    );
    let (base, _) = made(cache.path(), &builtin("musl/runtime"));
    let (image, _) = made(cache.path(), &recipe);
    assert_eq!(image.layers.len(), 2);
    assert_eq!(
        image.layers[0],
        LocalLayer {
            name: image.layers[0].name.clone(),
            ..base.layers[0].clone()
        }
    );
    assert_eq!(image.packages, base.packages);
    assert!(image.layers[1].size_bytes < 16 * 1024, "{}", image.layers[1].size_bytes);
    let (below, above) = (paths(&tree(&base)), tree(&image));
    let mut expected = below;
    expected.retain(|path| path != "etc/os-release" && path != "usr/bin/ld-musl-config");
    expected.extend(["etc/made".to_owned(), "etc/motd".to_owned()]);
    expected.sort();
    assert_eq!(paths(&above), expected);
    let motd: &Node = above.get(b"etc/motd").unwrap();
    assert_eq!((motd.entry.mode, motd.entry.uid), (0o600, 1000));
    let config: serde_json::Value = serde_json::from_slice(&image.config).unwrap();
    let variables = config["config"]["Env"].to_string();
    assert!(
        variables.contains("OWN=1") && variables.contains("LANG="),
        "{variables}"
    );
}

fn package_names(image: &LocalImage) -> Vec<&str> {
    image.packages.iter().map(|package| package.name.as_str()).collect()
}

/// On what is only unpacked more is unpacked, and only what is missing there.
#[test]
fn packages_are_added_to_a_base_that_is_only_unpacked() {
    let cache = tempfile::tempdir().unwrap();
    let (base, _) = made(cache.path(), &builtin("debian/runtime"));
    let recipe = recipe("bootstrap: {base: ../debian/runtime.yaml, packages: [zlib1g, libstdc++6]}");
    let (image, _) = made(cache.path(), &recipe);
    assert_eq!(image.diff_ids()[0], base.diff_ids()[0]);
    let mut expected = package_names(&base);
    expected.push("zlib1g");
    assert_eq!(package_names(&image), expected);
    assert!(image.packages.iter().all(|package| package.hash.starts_with("sha256:")));
    let (below, above) = (tree(&base), tree(&image));
    let added: Vec<String> = paths(&above)
        .into_iter()
        .filter(|path| below.get(path.as_bytes()).is_none())
        .collect();
    assert!(
        added.iter().any(|path| path.ends_with("-linux-gnu/libz.so.1")),
        "{added:?}"
    );
    assert!(added.contains(&"var/lib/dpkg/status.d/zlib1g".to_owned()), "{added:?}");
    let status = |tree: &Tree| tree.get(b"var/lib/dpkg/status").map(|node| node.content);
    assert_eq!(status(&above), status(&below), "nothing is installed");
    let again = made(cache.path(), &recipe).0;
    assert_eq!(again.id(), image.id());
}

/// What is compiled in a runtime image with more packages is compiled against what runs, or not at all.
#[test]
fn a_runtime_image_is_extended_by_what_goes_with_it() {
    let cache = tempfile::tempdir().unwrap();
    let runtime = recipe("bootstrap: {base: {builtin: debian/runtime}, packages: [zlib1g]}");
    let (base, _) = made(cache.path(), &runtime);
    let extended = Recipe::extending(runtime.clone(), vec!["zlib1g-dev".to_owned()]);
    let (image, _) = made(cache.path(), &extended);
    assert_eq!(image.diff_ids()[..2], base.diff_ids());
    assert!(base.packages.iter().all(|package| image.packages.contains(package)));
    let header = tree(&image).get(b"usr/include/zlib.h").is_some();
    assert!(header, "{:?}", package_names(&image));

    // As if it had been made before the mirror moved on.
    let version = |name: &str| {
        let package = image.packages.iter().find(|package| package.name == name);
        package.map(|package| package.version.clone()).unwrap_or_default()
    };
    let key = image_key(&runtime, architecture(), EPOCH_SECONDS);
    let record = cache.path().join(format!("images/records/{}.json", key.hex()));
    let text = fs::read_to_string(&record).unwrap();
    let now = format!("zlib1g {} ", version("zlib1g"));
    assert!(text.contains(&now), "{text}");
    fs::write(&record, text.replace(&now, "zlib1g 1:1.0 ")).unwrap();
    let other = Recipe::extending(runtime, vec!["zlib1g-dev".to_owned(), "libc6".to_owned()]);
    let error = make_in(cache.path(), &other, &CancellationToken::new()).unwrap_err();
    let expected = format!(
        "failed to extend the runtime image: zlib1g-dev {} does not go with zlib1g 1:1.0, which runs: both are of the source zlib",
        version("zlib1g-dev")
    );
    assert!(error.to_string().starts_with(&expected), "{error}");
}

/// Nothing was installed in the second image, so it has no log of that.
#[test]
fn a_base_with_a_package_manager_needs_no_packages_on_top() {
    let cache = tempfile::tempdir().unwrap();
    let base = "bootstrap: {distribution: debian, suite: trixie, variant: apt}";
    let others = [("own/base.yaml", base)];
    let files = "files: [{content: hello, to: /etc/motd.own}], setup: ['test -x /usr/bin/dpkg']";
    let plain = recipe_beside(&others, &format!("bootstrap: {{base: base.yaml, {files}}}"));
    let (image, _) = made(cache.path(), &plain);
    let added = paths(&tree(&LocalImage {
        layers: image.layers[1..].to_vec(),
        ..image.clone()
    }));
    assert!(added.contains(&"etc/motd.own".to_owned()), "{added:?}");
    assert!(!added.iter().any(|path| path.starts_with("usr/")), "{added:?}");
    assert!(package_names(&image).contains(&"dpkg"));
    // And one more on top of that, with packages again.
    let others = [
        ("own/base.yaml", base),
        (
            "own/plain.yaml",
            "bootstrap: {base: base.yaml, files: [{content: hello, to: /etc/motd.own}]}",
        ),
    ];
    let upper = recipe_beside(&others, "bootstrap: {base: plain.yaml, packages: [musl]}");
    let (upper, _) = made(cache.path(), &upper);
    assert_eq!(upper.layers.len(), 3);
    assert!(package_names(&upper).contains(&"musl"));
}

#[test]
fn a_made_image_runs_on_the_engine() {
    on_engine(|ground| async move {
        let cache = tempfile::tempdir()?;
        // Its own content, so that it is no other test's image.
        let text = format!(
            "bootstrap: {{base: ../musl/runtime.yaml, files: [{{content: '{}', to: /etc/id}}]}}",
            ground.id
        );
        let directory = cache.path().to_owned();
        let (image, _) = tokio::task::spawn_blocking(move || made(&directory, &recipe(&text))).await?;
        let tag = format!("{IMAGE_REPOSITORY}:{}", image_tag(&image));
        let outcome = run_it(&ground, &image).await;
        ground.engine.remove_image(&tag).await?;
        outcome
    });
}

async fn run_it(ground: &common::Ground, image: &LocalImage) -> TestResult {
    let (facts, was_there) = provide(&ground.engine, image).await?;
    assert!(!was_there);
    assert_eq!(facts.diff_ids, image.diff_ids());
    assert_eq!(facts.user, "1000:1000");
    let (again, was_there) = provide(&ground.engine, image).await?;
    assert!(was_there);
    assert_eq!(again, facts);
    let spec = ContainerSpec {
        name: format!("lockstep-test-{}", ground.id),
        image: ImageId(facts.id.0.clone()),
        command: vec![
            "sh".to_owned(),
            "-c".to_owned(),
            "cat /etc/id && id -un && test -w /tmp".to_owned(),
        ],
        environment: BTreeMap::new(),
        working_directory: "/".to_owned(),
        user: "1000:1000".to_owned(),
        labels: ground.labels.clone(),
        network: Network::None,
        mounts: vec![],
        limits: ResourceLimits {
            memory_bytes: 64 * 1024 * 1024,
            nano_cpus: 1_000_000_000,
            processes: 16,
            file_bytes: None,
        },
        read_only_root: false,
        init: false,
        tied: false,
        capabilities: vec![],
        sees_interfaces: false,
        beside: None,
        machine: MachineView::default(),
    };
    let job = Job {
        spec: &spec,
        uploads: vec![],
        limit: Duration::from_secs(60),
        line_limit_bytes: 4096,
        disk: None,
    };
    let outcome = job::run(&ground.engine, job, &|_, _| {}, &CancellationToken::new()).await?;
    assert!(outcome.ending.is_success(), "{outcome:?}");
    assert_eq!(outcome.tail, [format!("{}lockstep", ground.id)]);
    Ok(())
}

#[test]
fn a_cancelled_bootstrap_leaves_nothing() {
    let cache = tempfile::tempdir().unwrap();
    let cancel = CancellationToken::new();
    let later = cancel.clone();
    let canceller = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(1_500));
        later.cancel();
    });
    let started = Instant::now();
    let slow = recipe(
        "bootstrap: {distribution: debian, suite: trixie, variant: extract, packages: [busybox-static], \
         links: {usr/bin/sh: busybox, bin: usr/bin}, setup: [\"busybox sleep 120\"]}",
    );
    let error = make_in(cache.path(), &slow, &cancel).unwrap_err();
    canceller.join().unwrap();
    assert!(error.is_cancelled(), "{error}");
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    for left in ["images/work", "images/new", "images/layers", "images/records"] {
        let entries = fs::read_dir(cache.path().join(left)).into_iter().flatten().flatten();
        let names: Vec<_> = entries
            .map(|entry| entry.file_name())
            .filter(|name| !name.to_string_lossy().ends_with(".lock"))
            .collect();
        assert!(names.is_empty(), "{left}: {names:?}");
    }
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    assert!(!mounts.contains(&cache.path().display().to_string()), "{mounts}");
}

#[test]
fn a_bootstrap_that_fails_says_why() {
    let cache = tempfile::tempdir().unwrap();
    let ground = "distribution: debian, suite: trixie, variant: extract";
    for (section, expected) in [
        ("packages: [no-such-package-anywhere]", "no-such-package-anywhere"),
        (
            "packages: [busybox-static], links: {bin: usr/bin, usr/bin/sh: busybox}, setup: ['echo my own words >&2; exit 3']",
            "my own words",
        ),
    ] {
        let error = make_in(
            cache.path(),
            &recipe(&format!("bootstrap: {{{ground}, {section}}}")),
            &CancellationToken::new(),
        );
        let error = error.unwrap_err();
        let tail = error.log_tail().join("\n");
        assert!(tail.contains(expected), "{error}: {tail}");
        let message = error.to_string();
        assert!(
            message.starts_with("failed to bootstrap own/recipe: mmdebstrap failed"),
            "{message}"
        );
        let log = message.rsplit("hint: the whole log is ").next().unwrap();
        assert!(fs::read_to_string(log).unwrap().contains(expected), "{log}");
    }
}
