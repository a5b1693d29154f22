//! What a host exports, for the links of its plugins: what a plugin may leave undefined is what its host defines.
//!
//! A plugin is linked twice: as it is, and once more, to be thrown away, against a library that defines what the host
//! exports and nothing else. So the linker says what neither has, with the place in the source.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::container::in_memory;
use super::resolved::ResolvedEnvironment;
use super::{Run, RunError};
use crate::config::Program;
use crate::engine::job::Upload;
use crate::facts::elf::{Elf, SymbolKind, Visibility};
use crate::language::{EXPORTS_FILE, ROOT};
use crate::plan::UnitPlan;
use crate::printable::is_plain;
use crate::rootfs::{OverlayRoot, RootFs};

/// What hosts may export; those of more have no stub, and what their plugins lack is found by the check.
const EXPORTS_LIMIT_COUNT: usize = 1_000_000;

/// The exports of a host as soon as they are known.
#[derive(Debug, Clone)]
pub(super) struct Exports(watch::Receiver<Option<Arc<str>>>);

/// Tells them.
#[derive(Debug)]
pub(super) struct ExportsTeller(watch::Sender<Option<Arc<str>>>);

/// What is told once, and who waits for it.
pub(super) fn channel() -> (ExportsTeller, Exports) {
    let (sender, receiver) = watch::channel(None);
    (ExportsTeller(sender), Exports(receiver))
}

impl ExportsTeller {
    /// Tells what a host that was compiled exports.
    pub(super) fn tell_of_file(&self, host: &Path) -> Result<(), RunError> {
        let mut root = OverlayRoot::new(None).map_err(RunError::file_at("look at", host))?;
        let path = root.put(host);
        self.tell(assembly_of(&root, &path));
        Ok(())
    }

    fn tell(&self, assembly: String) {
        self.0.send_replace(Some(assembly.into()));
    }
}

impl Exports {
    /// The exports, once they are known; none when that is not to be any more.
    async fn get(&self, stop: &CancellationToken) -> Option<Arc<str>> {
        let mut receiver = self.0.clone();
        let known = async {
            receiver
                .wait_for(Option::is_some)
                .await
                .ok()
                .and_then(|known| known.clone())
        };
        tokio::select! {
            known = known => known,
            () = stop.cancelled() => None,
        }
    }
}

impl Run {
    /// Tells what a host exports that is not compiled.
    pub(super) async fn tell_exports(
        &self,
        teller: &ExportsTeller,
        resolved: &ResolvedEnvironment,
    ) -> Result<(), RunError> {
        match (&self.project.host.program, &resolved.brought) {
            (Program::Runtime(program), _) => {
                let root = self.runtime_root(&resolved.runtime).await?;
                teller.tell(assembly_of(&*root, &program.path));
                Ok(())
            }
            (_, Some(host)) => teller.tell_of_file(&host.content),
            (_, None) => Ok(()),
        }
    }
}

/// The upload with what a unit's link may leave to its host; none for a unit that is linked in another way. An error when the
/// host is not compiled any more.
pub(super) async fn upload(
    unit: &UnitPlan,
    exports: Option<&Exports>,
    stop: &CancellationToken,
) -> Result<Option<Upload>, RunError> {
    let Some(exports) = exports.filter(|_| crate::language::needs_exports(&unit.unit)) else {
        return Ok(None);
    };
    let assembly = exports.get(stop).await.ok_or(RunError::Interrupted)?;
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(assembly.len() as u64);
    let path = EXPORTS_FILE.trim_start_matches(ROOT).trim_start_matches('/');
    let written = archive.append_data(&mut header, path, assembly.as_bytes());
    let bytes = written
        .and_then(|()| archive.into_inner())
        .map_err(RunError::file("write a tar"))?;
    Ok(Some(Upload {
        path: ROOT.to_owned(),
        archive: in_memory(bytes),
    }))
}

/// Everything that a program exports, as a source for the assembler of any machine.
fn assembly_of(root: &dyn RootFs, path: &str) -> String {
    let object = root.look(path).ok().and_then(|found| root.object(&found));
    match object {
        Some(Ok(elf)) => assembly(&elf),
        // What a script or a static program would define, nobody sees.
        _ => String::new(),
    }
}

fn assembly(elf: &Elf) -> String {
    let mut text = String::new();
    let is_exported = |visibility| matches!(visibility, Visibility::Default | Visibility::Protected);
    for (_, symbol) in elf.symbols().take(EXPORTS_LIMIT_COUNT) {
        let Ok(name) = std::str::from_utf8(symbol.name) else {
            continue;
        };
        let is_quotable = !name.is_empty()
            && name
                .chars()
                .all(|character| is_plain(character) && !"\"\\".contains(character));
        if !symbol.is_defined() || !is_exported(symbol.visibility) || !is_quotable {
            continue;
        }
        let (section, kind) = match symbol.kind {
            SymbolKind::Tls => (".section .tbss,\"awT\",%nobits", "STT_TLS"),
            SymbolKind::Object | SymbolKind::Common => (".data", "STT_OBJECT"),
            _ => (".text", "STT_FUNC"),
        };
        let _ = writeln!(
            text,
            "{section}\n.globl \"{name}\"\n.type \"{name}\",{kind}\n\"{name}\":\n.zero 1"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn cc(directory: &Path, arguments: &[&str]) -> bool {
        let status = Command::new("cc").current_dir(directory).args(arguments).status();
        status.unwrap().success()
    }

    /// The linker says what a plugin may leave to its host, and what not.
    #[test]
    fn a_plugin_is_linked_against_what_its_host_exports() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let write = |name: &str, text: &str| std::fs::write(directory.join(name), text).unwrap();
        write(
            "host.c",
            "int count; __thread int depth = 1; void log_it(void) {} static void own(void) {}\n\
             __attribute__((visibility(\"hidden\"))) void hidden(void) { own(); }\n\
             int main(void) { hidden(); return 0; }\n",
        );
        assert!(cc(directory, &["-rdynamic", "-o", "host", "host.c"]));
        let (teller, Exports(known)) = channel();
        teller.tell_of_file(&directory.join("host")).unwrap();
        write("exports.s", known.borrow().as_deref().unwrap());
        assert!(cc(directory, &["-shared", "-nostdlib", "-o", "host.so", "exports.s"]));
        for (uses, links) in [
            ("void log_it(void); void use(void) { log_it(); }", true),
            ("extern int count; int use(void) { return count; }", true),
            ("extern __thread int depth; int use(void) { return depth; }", true),
            ("void hidden(void); void use(void) { hidden(); }", false),
            ("void own(void); void use(void) { own(); }", false),
            ("void log_its(void); void use(void) { log_its(); }", false),
        ] {
            write("plugin.c", uses);
            let arguments = [
                "-shared",
                "-fPIC",
                "-o",
                "plugin.so",
                "plugin.c",
                "-Wl,-z,defs",
                "host.so",
            ];
            assert_eq!(cc(directory, &arguments), links, "{uses}");
        }
    }

    #[tokio::test]
    async fn whoever_waits_for_exports_is_told_or_sent_away() {
        let (teller, exports) = channel();
        let stop = CancellationToken::new();
        let waiting = tokio::spawn({
            let (exports, stop) = (exports.clone(), stop.clone());
            async move { exports.get(&stop).await }
        });
        teller.tell("x".to_owned());
        assert_eq!(waiting.await.unwrap().as_deref(), Some("x"));
        assert_eq!(exports.get(&stop).await.as_deref(), Some("x"));
        let (_teller, exports) = channel();
        stop.cancel();
        assert_eq!(exports.get(&stop).await, None);
    }
}
