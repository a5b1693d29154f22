//! `lockstep verify` of what is reproducible, and against what somebody published. What is not reproducible is in
//! `nondeterminism.rs`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod sample;

use std::time::Instant;

use sample::{PATIENCE, Sample, said, with_sample};

/// Runs `verify`; what it says on standard output.
fn verify(sample: &Sample, arguments: &[&str], expected: i32) -> String {
    let output = sample.run(&[&["verify"], arguments].concat());
    assert_eq!(output.status.code(), Some(expected), "{}", said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned() + &said(&output)
}

#[test]
fn what_is_reproducible_is_equal_to_the_lock_and_to_what_was_published() {
    with_sample("verify", |sample| {
        let told = verify(sample, &[], 6);
        assert!(told.contains("error[lock-out-of-date]"), "{told}");
        sample.build(0);
        let before = sample.published();
        let started = Instant::now();
        let told = verify(sample, &[], 0);
        assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
        for line in [
            "   tiny  equal  tiny\n",
            "   good  equal  good.so\n",
            " 100 % equal: 2 units\n",
        ] {
            assert!(told.contains(line), "{line}: {told}");
        }
        let image = format!("lockstep/{}:glibc", sample.name);
        for published in ["dist/glibc", &format!("lockstep-{}-glibc", sample.name), &image] {
            let told = verify(sample, &["--against", published], 0);
            assert!(told.contains(&format!("against {published}:")), "{told}");
        }
        assert_eq!(sample.published(), before);
        let (bundle, other) = (sample.path().join("dist/glibc"), sample.path().join("other"));
        std::fs::create_dir(&other).unwrap();
        for entry in std::fs::read_dir(bundle).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), other.join(entry.file_name())).unwrap();
        }
        std::fs::write(other.join("good.so"), "another").unwrap();
        let told = verify(sample, &["--against", "other"], 1);
        assert!(
            told.contains("`good.so` in other is not what the manifest there says"),
            "{told}"
        );
        let told = verify(sample, &["--against", "good"], 2);
        assert!(told.contains("error[against]: there is no bundle in good"), "{told}");
        sample.assert_nothing_left(&[sample.volume()]);
    });
}
