//! The musl images from within: what is compiled in the one catches panics and exceptions in the other.
//!
//! The first run on a machine makes the images, which takes minutes; they stay in the user's cache.

mod common;

use common::batch::{Batch, builtin_image, run};
use common::{TestResult, archive, on_engine, unpack};

const SOURCES: &[(&str, u32, &[u8])] = &[
    ("work/build.sh", 0o644, include_bytes!("musl/build.sh")),
    ("work/host.rs", 0o644, include_bytes!("musl/host.rs")),
    ("work/plugin.cpp", 0o644, include_bytes!("musl/plugin.cpp")),
    ("work/plugin.rs", 0o644, include_bytes!("musl/plugin.rs")),
];

#[test]
fn what_is_compiled_for_musl_catches_what_is_thrown() {
    on_engine(|ground| async move {
        let compile = Batch {
            name: "compile",
            image: builtin_image(&ground, "musl/build").await?,
            script: "cd work; sh build.sh",
            files: archive(SOURCES)?,
            changes_root: false,
            wanted: &["/lockstep/work/out"],
        };
        let compiled = unpack(&run(&ground, compile).await?.archives[0])?;
        let uploads = ["host", "libplugin.so", "plugin-cpp.so"].map(|name| {
            let (_, content) = &compiled[&format!("out/{name}")];
            (format!("work/{name}"), 0o755, content.as_slice())
        });
        let uploads: Vec<_> = uploads
            .iter()
            .map(|(path, mode, content)| (path.as_str(), *mode, *content))
            .collect();
        let load = Batch {
            name: "load",
            image: builtin_image(&ground, "musl/runtime").await?,
            script: "cd work; ./host ./libplugin.so ./plugin-cpp.so 2> /dev/null",
            files: archive(&uploads)?,
            changes_root: false,
            wanted: &[],
        };
        let lines = run(&ground, load).await?.lines;
        let expected = ["host caught: true", "./libplugin.so: 42 10", "./plugin-cpp.so: 312 111"];
        assert_eq!(lines, expected);
        Ok(()) as TestResult
    });
}
