//! Environments from a Dockerfile, which the engine's builder makes with the time of day in them: the lock of one machine is met
//! on another.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod sample;

use std::process::Output;

use sample::{Sample, docker, docker_says, said, with_sample};

/// The runtime image that comes with lockstep, under the name that the engine has it.
fn runtime_image() -> String {
    let names = docker(&["images", "--format", "{{.Repository}}:{{.Tag}}", "lockstep/environment"]);
    let mut names = names.lines().filter(|name| name.contains(":debian-runtime-"));
    names.next().unwrap().to_owned()
}

/// Runs the program as on a machine that has made nothing yet.
fn elsewhere(sample: &Sample, arguments: &[&str]) -> Output {
    let cache = tempfile::tempdir().unwrap();
    let mut command = sample.command(arguments);
    command.env("XDG_CACHE_HOME", cache.path()).output().unwrap()
}

/// Forgets what the engine has of this test's Dockerfile: the image, and what the builder made for it.
fn forget(sample: &Sample) {
    const DIGITS: usize = 8;
    let names = docker(&["images", "--format", "{{.Repository}}:{{.Tag}}", "lockstep/environment"]);
    for name in names.lines().filter(|name| name.contains(&sample.name)) {
        let label = "{{index .Config.Labels \"dev.lockstep.recipe\"}}";
        let recipe = docker(&["image", "inspect", "--format", label, name]);
        let digits: String = recipe
            .trim()
            .trim_start_matches("sha256:")
            .chars()
            .take(DIGITS)
            .collect();
        docker(&["image", "rm", "--force", &format!("lockstep/recipe:{digits}")]);
        docker_says(&["image", "rm", "--force", &format!("lockstep/{}:glibc", sample.name)]);
        docker(&["image", "rm", "--force", name]);
    }
}

/// A command that gives another file each time is another image, and the error says which file: as long as somebody has the
/// locked image.
fn assert_files_are_named(sample: &Sample, directory: &str) {
    let cache = tempfile::tempdir().unwrap();
    let lock = || {
        let mut command = sample.command(&["lock"]);
        command.env("XDG_CACHE_HOME", cache.path()).output().unwrap()
    };
    let images = cache.path().join("lockstep/images");
    let project = sample.read("lockstep.yaml").unwrap();
    // The smallest image there is: nothing is compiled here.
    sample.write(
        "lockstep.yaml",
        &project.replace("{builtin: debian/build}", "{builtin: musl/runtime}"),
    );
    let text = format!(
        "FROM {} AS runtime\nUSER 0\nRUN cat /proc/sys/kernel/random/uuid > /etc/chance; : {}\nUSER 1000\n",
        runtime_image(),
        sample.name
    );
    sample.write(&format!("{directory}/Dockerfile"), &text);
    std::fs::remove_file(sample.path().join("lockstep.lock")).unwrap();
    let output = lock();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    // What was made is forgotten, but not the layers.
    forget(sample);
    for records in ["records", "ids"] {
        std::fs::remove_dir_all(images.join(records)).unwrap();
    }
    let output = lock();
    assert_eq!(output.status.code(), Some(6), "{}", said(&output));
    for words in [
        "~ runtime image: ",
        "in the runtime image (A is the locked one):",
        "/etc/chance  content from byte ",
    ] {
        assert!(said(&output).contains(words), "{words}: {}", said(&output));
    }
    forget(sample);
    std::fs::remove_dir_all(&images).unwrap();
    let output = lock();
    assert_eq!(output.status.code(), Some(6), "{}", said(&output));
    assert!(
        said(&output).contains("is neither in the engine nor in the user's cache"),
        "{}",
        said(&output)
    );
    sample.write("lockstep.yaml", &project);
}

#[test]
fn the_lock_of_a_dockerfile_is_met_elsewhere() {
    with_sample("dockerfile", |sample| {
        sample.build(0);
        let directory = format!("images/{}", sample.name);
        let dockerfile = format!(
            "FROM {} AS runtime\nCOPY note /etc/note\nCOPY note /var/log/note\nENV NOTE=/etc/note\n",
            runtime_image()
        );
        sample.write(&format!("{directory}/Dockerfile"), &dockerfile);
        sample.write(&format!("{directory}/note"), "note\n");
        let text = sample.read("lockstep.yaml").unwrap();
        let recipe =
            format!("runtime: {{dockerfile: {directory}/Dockerfile, target: runtime, remove: [/etc/unwanted]}}");
        sample.write(
            "lockstep.yaml",
            &text.replace("runtime: {builtin: debian/runtime}", &recipe),
        );
        std::fs::remove_file(sample.path().join("lockstep.lock")).unwrap();
        let told = sample.build(0);
        assert!(told.contains("1 loaded"), "{told}");
        let lock = sample.read("lockstep.lock").unwrap();
        forget(sample);
        std::fs::remove_dir_all(sample.path().join(".lockstep")).unwrap();
        let output = elsewhere(sample, &["build", "--locked"]);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert_eq!(sample.read("lockstep.lock").unwrap(), lock);
        // Another file is another image: told before anything is made.
        sample.write(&format!("{directory}/note"), "another\n");
        let output = elsewhere(sample, &["build", "--locked"]);
        assert_eq!(output.status.code(), Some(6), "{}", said(&output));
        assert!(said(&output).contains("~ runtime recipe: "), "{}", said(&output));
        assert_files_are_named(sample, &directory);
        // What a build that fails said last is shown.
        sample.write(
            &format!("{directory}/Dockerfile"),
            &format!("{dockerfile}COPY nothing /\n"),
        );
        std::fs::remove_file(sample.path().join("lockstep.lock")).unwrap();
        let told = sample.build(4);
        assert!(told.contains(": COPY nothing /"), "{told}");
        forget(sample);
    });
}
