//! The shared volume under attack: several checkouts that build, are killed and cleaned up at random moments, and somebody
//! who changes what was published.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use lockstep::digest::Digest;
use rustix::process::Signal;

use crate::sample::{PATIENCE, Sample, docker, said, signal, wait, with_sample};
use crate::table::{Row, tries};

/// Whatever is random here begins with this, so that a round can be had again.
const SEED: u64 = 20_261_129;
/// How long after each other processes are started, and how long the unlucky ones live.
const DELAY_LIMIT_MILLISECONDS: u64 = 1500;
const LIFE_LIMIT_MILLISECONDS: u64 = 4000;

/// Numbers that look random: a multiplicative generator (Steele and Vigna's splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// What a host would find in the volume.
#[derive(Debug, Default)]
struct Found {
    /// Whether nothing was ever made current there.
    is_unpublished: bool,
    current: String,
    /// The digests of the files in `current`, by name, in hexadecimal digits.
    files: BTreeMap<String, String>,
    manifest: String,
}

/// Looks with the engine's own command and the image's own tools. None when there is no volume.
fn look(sample: &Sample) -> Option<Found> {
    let volume = format!("lockstep-{}-glibc", sample.name);
    if docker(&["volume", "ls", "--quiet", "--filter", &format!("name=^{volume}$")]).is_empty() {
        return None;
    }
    let script = "[ -e current ] || [ -L current ] || exit 0; readlink current; cd -P current; sha256sum *; echo; cat manifest.json";
    let shown = in_volume(sample, "ro", script);
    let (head, manifest) = shown.split_once("\n\n").unwrap_or((&shown, ""));
    let mut lines = head.lines();
    Some(Found {
        is_unpublished: shown.trim().is_empty(),
        current: lines.next().unwrap_or_default().to_owned(),
        files: lines
            .filter_map(|line| line.split_once("  "))
            .map(|(digest, name)| (name.to_owned(), digest.to_owned()))
            .collect(),
        manifest: manifest.to_owned(),
    })
}

/// Runs a script in the volume, as root, and gives what it prints.
fn in_volume(sample: &Sample, mode: &str, script: &str) -> String {
    let mount = format!("lockstep-{}-glibc:/bundle:{mode}", sample.name);
    let image = build_image(sample);
    let confined = ["run", "--rm", "--network", "none", "--user", "0:0"];
    let place = ["--workdir", "/bundle", "--volume", &mount, &image];
    docker(&[&confined[..], &place, &["sh", "-c", script]].concat())
}

/// The image of the lock: no build that goes on can take its name away.
fn build_image(sample: &Sample) -> String {
    let lock = lockstep::lock::read(&sample.path().join("lockstep.lock"))
        .unwrap()
        .unwrap();
    lock.environments.values().next().unwrap().build.id.clone()
}

/// What is wrong with a volume; nothing for one that is whole, and of one of those who published.
fn judge(found: Option<&Found>, published: &BTreeSet<String>) -> Result<(), String> {
    // Everything is cleaned up: nothing can be broken.
    let Some(found) = found else { return Ok(()) };
    let name = format!("releases/{}", &Digest::of(found.manifest.as_bytes()).hex()[..16]);
    if found.current != name {
        return Err(format!(
            "current leads to `{}`, and the manifest there is {name}",
            found.current
        ));
    }
    let manifest: serde_json::Value = serde_json::from_str(&found.manifest).map_err(|error| error.to_string())?;
    let mut expected = BTreeMap::from([("manifest.json".to_owned(), Digest::of(found.manifest.as_bytes()).hex())]);
    for unit in manifest["units"].as_array().unwrap() {
        for artifact in unit["artifacts"].as_array().unwrap() {
            let digest = artifact["digest"].as_str().unwrap().trim_start_matches("sha256:");
            expected.insert(artifact["name"].as_str().unwrap().to_owned(), digest.to_owned());
        }
    }
    if found.files != expected {
        return Err(format!("{:?} instead of {expected:?}", found.files));
    }
    if !published.contains(&found.manifest) {
        return Err("what is published is no checkout's".to_owned());
    }
    Ok(())
}

/// What a checkout has in `dist`.
fn bundle(checkout: &Path) -> Option<String> {
    std::fs::read_to_string(checkout.join("dist/glibc/manifest.json")).ok()
}

/// A second checkout of the sample's project.
fn check_out(sample: &Sample, checkout: &Path) {
    for path in ["host/main.c", "good/good.c", "lockstep.yaml", "lockstep.lock"] {
        let target = checkout.join(path);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(sample.path().join(path), target).unwrap();
    }
}

/// The plugin's source in one of a few variants, of which each checkout has its own.
fn write_variant(checkout: &Path, owner: usize, number: u64) {
    let text = format!("long plugin_answer(void) {{ return 42; }}\nint variant_{owner}_{number};\n");
    std::fs::write(checkout.join("good/good.c"), text).unwrap();
}

fn start(sample: &Sample, checkout: &Path, arguments: &[&str]) -> Child {
    sample.command(arguments).current_dir(checkout).spawn().unwrap()
}

#[test]
fn builds_kills_and_cleans_of_several_checkouts_leave_a_whole_volume() {
    let mut volumes = Row::new(
        "volume",
        "builds, kills and cleans of three checkouts at random moments: the volume is whole",
    );
    let mut ends = Row::new(
        "volume",
        "of those, builds that nobody kills end with 0, cleans with 0 or because of a build",
    );
    with_sample("interleaved", |sample| {
        sample.build(0);
        let others = tempfile::tempdir().unwrap();
        let mut checkouts: Vec<PathBuf> = vec![sample.path().to_owned()];
        for name in ["second", "third"] {
            checkouts.push(others.path().join(name));
            check_out(sample, checkouts.last().unwrap());
        }
        let mut published: BTreeSet<String> = bundle(sample.path()).into_iter().collect();
        let mut random = Random(SEED);
        // A build that is killed before it publishes for the first time leaves a volume in which nothing is.
        let mut may_be_unpublished = false;
        for round in 0..tries(5, 300) {
            let mut running = Vec::new();
            for (owner, checkout) in checkouts.iter().enumerate() {
                write_variant(checkout, owner, random.below(3));
                let clean = random.below(4) == 0;
                may_be_unpublished |= clean;
                let child = start(sample, checkout, if clean { &["clean"] } else { &["build"] });
                let killed = random.below(3) == 0;
                running.push((child, clean, killed));
                std::thread::sleep(Duration::from_millis(random.below(DELAY_LIMIT_MILLISECONDS)));
            }
            if running.iter().any(|(_, _, killed)| *killed) {
                std::thread::sleep(Duration::from_millis(random.below(LIFE_LIMIT_MILLISECONDS)));
            }
            for (child, clean, killed) in running {
                if killed {
                    signal(&child, Signal::KILL);
                }
                let output = wait(child, PATIENCE);
                if killed {
                    continue;
                }
                let code = output.status.code();
                let fits = code == Some(0) || clean && said(&output).contains("in use");
                ends.check(fits, || {
                    format!("round {round}: clean: {clean}, {code:?}: {}", said(&output))
                });
            }
            published.extend(checkouts.iter().filter_map(|checkout| bundle(checkout)));
            let found = look(sample);
            if found
                .as_ref()
                .is_none_or(|found| found.is_unpublished && may_be_unpublished)
            {
                volumes.count(Ok(()));
                continue;
            }
            may_be_unpublished = false;
            volumes.count(judge(found.as_ref(), &published).map_err(|what| format!("round {round}: {what}")));
        }
        // Whatever happened, the next build of each is a good one, and then each goes with its own.
        for (owner, checkout) in checkouts.iter().enumerate() {
            let output = wait(start(sample, checkout, &["build"]), PATIENCE);
            ends.check(output.status.code() == Some(0), || {
                format!("{owner}: {}", said(&output))
            });
            published.extend(bundle(checkout));
            volumes.count(judge(look(sample).as_ref(), &published));
        }
        for checkout in &checkouts[1..] {
            let output = wait(start(sample, checkout, &["clean"]), PATIENCE);
            ends.check(output.status.code() == Some(0), || said(&output));
        }
    });
    volumes.finish();
    ends.finish();
}

#[test]
fn what_somebody_changes_in_the_volume_is_repaired_and_told() {
    let mut row = Row::new(
        "volume",
        "what was published is changed behind its back: the next build repairs it and says so",
    );
    with_sample("tampered", |sample| {
        sample.build(0);
        let published = bundle(sample.path()).into_iter().collect();
        let changes = [
            "printf X | dd of=current/good.so bs=1 seek=100 conv=notrunc 2>/dev/null",
            "chmod 600 current/manifest.json; chmod 755 current/manifest.json",
            "rm current/good.so",
            "rm current",
            "ln -sfn releases/0000000000000000 current",
            "rm current; mkdir current",
            "ln -sfn / current",
            "rm -r releases",
            "mv releases x; ln -s x releases",
            "cp current/tiny current/more.so",
            "mv current/good.so x; ln -s ../../x current/good.so",
            "rm -r ./*",
        ];
        for change in changes.iter().take(tries(5, changes.len())) {
            in_volume(sample, "rw", change);
            let output = sample.run(&["build"]);
            let told = said(&output);
            row.check(
                output.status.code() == Some(0) && told.contains("not as it was"),
                || format!("{change}: {:?}: {told}", output.status),
            );
            row.count(judge(look(sample).as_ref(), &published).map_err(|what| format!("{change}: {what}")));
            let again = sample.build(0);
            row.check(again.contains("nothing changed"), || format!("{change}: {again}"));
        }
        // A release that is not what it was is not made current again, when a source changes there and back.
        let good = sample.read("good/good.c").unwrap();
        sample.write(
            "good/good.c",
            "long plugin_answer(void) { return 42; } // another\nint more;\n",
        );
        sample.build(0);
        let change =
            "for file in releases/*/good.so; do printf X | dd of=$file bs=1 seek=100 conv=notrunc 2>/dev/null; done";
        in_volume(sample, "rw", change);
        sample.write("good/good.c", &good);
        sample.build(0);
        row.count(judge(look(sample).as_ref(), &published));
    });
    row.finish();
}
