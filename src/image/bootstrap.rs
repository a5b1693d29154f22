//! Runs mmdebstrap: a recipe in, the tar of a root filesystem out.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{ChildStdout, Command};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::apt::network_options;
use super::assemble::{ARCHIVES_DIRECTORY, NOTES_DIRECTORY};
use super::cache::{ImageCache, LocalLayer, failed};
use super::child::{ChildError, Run};
use super::entry::Entry;
use super::error::{ImageError, LayerError};
use super::kept_repository::{KeptRepository, USE_REPOSITORY};
use super::machine::{Machine, debian_architecture};
use super::recipe::{Ground, OwnFile, Recipe, Variant};
use super::write::LayerWriter;
use crate::language::quote;

/// How long one bootstrap may take.
const BOOTSTRAP_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// From how much free memory on the tree is made in memory: a build image has 1.3 GB, and building a toolchain for it
/// needs some too.
const MEMORY_TREE_MINIMUM_BYTES: u64 = 8 * 1024 * 1024 * 1024;
/// Which part of the free memory the tree may have then.
const MEMORY_TREE_SHARE: u64 = 2;
/// What the kernel says when that was not enough.
const NO_SPACE: &str = "No space left on device";
/// Directories that programs of the new root expect, where no package brings them.
const DIRECTORIES: &[&str] = &[
    "dev", "etc", "proc", "root", "run", "sys", "tmp", "usr/bin", "usr/lib", "usr/sbin",
];
/// Where setup scripts search programs.
const SETUP_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What mmdebstrap should leave to lockstep, which takes packages and notes out of its tar.
const SKIPPED: &str = "check/empty,download/empty,essential/unlink,cleanup/apt,cleanup/tmp,output/dev,output/mknod";

/// One bootstrap.
pub(super) struct Bootstrap<'a> {
    pub(super) recipe: &'a Recipe,
    /// The layers of the image that it stands on, lowest first.
    pub(super) base: &'a [LocalLayer],
    /// The packages that it takes, and no others; none for those that the mirrors have now.
    pub(super) repository: Option<&'a KeptRepository>,
    pub(super) machine: &'a Machine,
    pub(super) cache: &'a ImageCache,
    pub(super) epoch_seconds: u64,
    pub(super) cancel: &'a CancellationToken,
    /// Takes what it is doing, in a few words.
    pub(super) progress: &'a (dyn Fn(String) + Sync),
}

impl Bootstrap<'_> {
    /// Runs it and gives its tar to `consume`: again on the disk when memory was not enough.
    pub(super) fn run<T>(
        &self,
        mut consume: impl FnMut(&mut ChildStdout) -> Result<T, ImageError>,
    ) -> Result<T, ImageError> {
        let available = self.machine.available_memory_bytes;
        let memory_bytes =
            (self.machine.is_root && available >= MEMORY_TREE_MINIMUM_BYTES).then_some(available / MEMORY_TREE_SHARE);
        match self.run_once(memory_bytes, &mut consume) {
            Err(error) if memory_bytes.is_some() && error.log_tail().iter().any(|line| line.contains(NO_SPACE)) => {
                self.run_once(None, &mut consume)
            }
            result => result,
        }
    }

    fn run_once<T>(
        &self,
        memory_bytes: Option<u64>,
        consume: &mut impl FnMut(&mut ChildStdout) -> Result<T, ImageError>,
    ) -> Result<T, ImageError> {
        for (program, package) in [
            ("mmdebstrap", "mmdebstrap"),
            ("unshare", "util-linux"),
            ("setpriv", "util-linux"),
        ] {
            if !self.machine.has_program(program) {
                return Err(ImageError::NoProgram { program, package });
            }
        }
        let sources = match self.repository {
            Some(_) => String::new(),
            None => {
                let options = format!("signed-by={}", self.machine.debian_keyring()?.display());
                self.machine.debian()?.sources_list(self.recipe.suite(), &options)
            }
        };
        let network = network_options(self.machine, self.cancel)?;
        let work = self.cache.work_directory()?;
        let log = self.cache.log_path(&self.recipe.name)?;
        let packages = work.path().join("packages");
        let temporary = work.path().join("tmp");
        for directory in [&packages, &temporary] {
            fs::create_dir(directory).map_err(failed("make the directory", directory))?;
        }
        match self.repository {
            Some(repository) => repository.offer(&packages)?,
            None => self.cache.offer_packages(&packages)?,
        }
        let first = work.path().join("first.tar");
        let last = work.path().join("last.tar");
        self.write_tar(&first, &self.first_files())?;
        self.write_tar(&last, &self.last_files())?;
        let mut command = self.command(&temporary, memory_bytes);
        command.args(network.iter().map(|option| format!("--aptopt={option}")));
        command.args(self.arguments(&packages, &first, &last));
        let run = Run {
            program: "mmdebstrap",
            input: sources.as_bytes(),
            log: &log,
            limit: BOOTSTRAP_TIMEOUT,
            cancel: self.cancel,
            // As root it runs in a process namespace, which ends as a whole; else it has to remove what belongs to
            // users that lockstep cannot act for.
            ends_gracefully: !self.machine.is_root,
            line: &|line| {
                if let Some(message) = progress_message(line) {
                    (self.progress)(message);
                }
            },
        };
        let result = run.run(command, |output| consume(output).map_err(Failure::Image));
        result.map_err(|failure| match failure {
            Failure::Child(ChildError::Cancelled) => ImageError::Cancelled,
            Failure::Child(cause) => ImageError::Bootstrap {
                recipe: self.recipe.name.clone(),
                cause,
                log,
            },
            Failure::Image(error) => error,
        })
    }

    fn layer_failed(&self, cause: LayerError) -> ImageError {
        ImageError::Layer {
            recipe: self.recipe.name.clone(),
            cause,
        }
    }

    /// mmdebstrap in an environment that says nothing of the user. It ends when lockstep does, whatever ends lockstep:
    /// as root in namespaces of its own, so that no mount is left behind either.
    fn command(&self, temporary: &Path, memory_bytes: Option<u64>) -> Command {
        let mut command = Command::new("setpriv");
        command.env_clear().envs(&self.machine.network.proxies);
        command
            .env("PATH", &self.machine.search_path)
            .env("HOME", "/root")
            .env("LC_ALL", "C.UTF-8")
            .env("SOURCE_DATE_EPOCH", self.epoch_seconds.to_string());
        if self.machine.is_root {
            command.env("TMPDIR", temporary);
            if let Some(bytes) = memory_bytes {
                command.env("LOCKSTEP_TREE_BYTES", bytes.to_string());
            }
            command.args([
                "--pdeathsig",
                "KILL",
                "unshare",
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
            ]);
            command.args(["--mount-proc", "sh", "-euc", PROTECT_MACHINE, "sh", "--mode=root"]);
        } else {
            command.args(["--pdeathsig", "TERM", "sh", "-uc", END_AS_GROUP, "sh", "--mode=unshare"]);
        }
        command
    }

    fn arguments(&self, packages: &Path, first: &Path, last: &Path) -> Vec<String> {
        let (variant, hook) = match &self.recipe.ground {
            Ground::Distribution {
                variant: Variant::Extract,
                ..
            } => ("extract", "extract"),
            Ground::Distribution {
                variant: Variant::Apt, ..
            } => ("apt", "customize"),
            // On what is only unpacked, more is unpacked.
            Ground::Base(base) if base.is_unpacked_only() && !self.recipe.packages.is_empty() => ("extract", "extract"),
            Ground::Base(_) => ("custom", "customize"),
        };
        let mut arguments = vec![
            "--verbose".to_owned(),
            "--format=tar".to_owned(),
            format!("--variant={variant}"),
            format!("--skip={SKIPPED}"),
            format!("--architectures={}", debian_architecture(self.machine.architecture)),
            "--aptopt=Acquire::Languages \"none\"".to_owned(),
            "--aptopt=Acquire::Retries \"3\"".to_owned(),
            "--aptopt=APT::Install-Recommends \"false\"".to_owned(),
            // The tree is thrown away when its tar is written, so nothing of it must reach the disk.
            "--dpkgopt=force-unsafe-io".to_owned(),
        ];
        if variant != "extract" {
            arguments.extend(
                self.recipe
                    .exclude
                    .iter()
                    .map(|pattern| format!("--dpkgopt=path-exclude={pattern}")),
            );
        }
        let mut hooks = vec![("setup", self.unpack(first))];
        hooks.extend(self.base.iter().map(|layer| ("setup", self.unpack(&layer.path))));
        if !self.base.is_empty() {
            hooks.push(("setup", APPLY_WHITEOUTS.to_owned()));
        }
        hooks.push(("setup", self.offer(packages)));
        if self.repository.is_some() {
            hooks.push(("setup", USE_REPOSITORY.to_owned()));
        }
        let is_based = matches!(self.recipe.ground, Ground::Base(_));
        if is_based && variant == "extract" {
            hooks.push(("setup", KNOW_UNPACKED.to_owned()));
            hooks.push((hook, FORGET_UNPACKED.to_owned()));
            hooks.push((hook, LINK_ALTERNATIVES.to_owned()));
        }
        if !self.recipe.packages.is_empty() {
            if is_based && variant != "extract" {
                hooks.push((hook, install(&self.recipe.packages)));
            } else {
                arguments.push(format!("--include={}", self.recipe.packages.join(",")));
            }
        }
        hooks.push((hook, self.unpack(last)));
        hooks.extend((0..self.recipe.setup.len()).map(|number| (hook, self.setup(number))));
        hooks.push((
            hook,
            (if variant == "extract" {
                NOTE_UNPACKED
            } else {
                NOTE_INSTALLED
            })
            .to_owned(),
        ));
        if self.recipe.keeps_base {
            hooks.push((hook, NOTE_SOURCES.to_owned()));
        }
        hooks.push((hook, REMOVE_LISTS.to_owned()));
        arguments.extend(
            hooks
                .into_iter()
                .map(|(when, script)| format!("--{when}-hook={script}")),
        );
        arguments.push(self.recipe.suite().to_owned());
        arguments.extend(["-".to_owned(), "-".to_owned()]);
        arguments
    }

    /// Unpacks a tar into the new root. Without root, the hook runs as a user who cannot read the cache, and mmdebstrap
    /// itself must hand the tar over.
    fn unpack(&self, tar: &Path) -> String {
        let tar = quote(&tar.to_string_lossy());
        if self.machine.is_root {
            let flags = "--numeric-owner --same-permissions --xattrs --xattrs-include='*'";
            // The directories above a file of the recipe, where no package brings them, are as packages have them.
            format!("umask 022 && tar --directory=\"$1\" {flags} --keep-directory-symlink --extract --file={tar}")
        } else {
            format!("tar-in {tar} /")
        }
    }

    fn offer(&self, packages: &Path) -> String {
        let packages = quote(&packages.to_string_lossy());
        if self.machine.is_root {
            format!("cp --recursive {packages}/. \"$1/{ARCHIVES_DIRECTORY}\"")
        } else {
            format!("sync-in {packages} /{ARCHIVES_DIRECTORY}")
        }
    }

    /// Runs one of the recipe's scripts in the new root, with an environment that says nothing of the machine but how
    /// it reaches a network.
    fn setup(&self, number: usize) -> String {
        let certificates = format!("/{NOTES_DIRECTORY}/certificates.crt");
        let mut variables = self.machine.network.variables(&certificates);
        let fixed = [
            ("HOME", "/root".to_owned()),
            ("LC_ALL", "C.UTF-8".to_owned()),
            ("PATH", SETUP_PATH.to_owned()),
            ("SOURCE_DATE_EPOCH", self.epoch_seconds.to_string()),
        ];
        variables.extend(fixed.map(|(name, value)| (name.to_owned(), value)));
        let words: Vec<String> = variables
            .iter()
            .map(|(name, value)| quote(&format!("{name}={value}")))
            .collect();
        format!(
            "env -i {} chroot \"$1\" /bin/sh -eu {}",
            words.join(" "),
            setup_path(number)
        )
    }

    /// What is there before the first package.
    fn first_files(&self) -> Vec<OwnFile> {
        let mut files = self.first_directories();
        if let Some((path, content)) = self.repository.map(KeptRepository::index) {
            files.push(OwnFile {
                path,
                content: Some(content),
                mode: 0o644,
                owner: 0,
            });
        }
        files
    }

    fn first_directories(&self) -> Vec<OwnFile> {
        if matches!(self.recipe.ground, Ground::Base(_)) {
            // Images have no /dev: the engine mounts one.
            return vec![directory("dev"), directory(ARCHIVES_DIRECTORY)];
        }
        let mut files: Vec<OwnFile> = DIRECTORIES
            .iter()
            .filter(|path| !self.recipe.links.contains_key(**path))
            .map(|path| OwnFile {
                path: (*path).to_owned(),
                content: None,
                mode: if *path == "tmp" { 0o1777 } else { 0o755 },
                owner: 0,
            })
            .collect();
        files.push(directory(ARCHIVES_DIRECTORY));
        files
    }

    /// What is there after the last one: the recipe's files, its scripts, and what they need to reach a network.
    fn last_files(&self) -> Vec<OwnFile> {
        let note = |name: &str, content: Vec<u8>| OwnFile {
            path: format!("{NOTES_DIRECTORY}/{name}"),
            content: Some(content),
            mode: 0o644,
            owner: 0,
        };
        let mut files = vec![directory(NOTES_DIRECTORY)];
        files.extend(self.recipe.files.iter().cloned());
        files.extend(self.recipe.setup.iter().enumerate().map(|(number, script)| OwnFile {
            path: setup_path(number).trim_start_matches('/').to_owned(),
            content: Some(script.clone().into_bytes()),
            mode: 0o644,
            owner: 0,
        }));
        files.push(note(
            "certificates.crt",
            self.machine.certificates().unwrap_or_default(),
        ));
        if let Some(content) = self.machine.hosts() {
            files.push(OwnFile {
                path: "etc/hosts".to_owned(),
                content: Some(content),
                mode: 0o644,
                owner: 0,
            });
        }
        files
    }

    fn write_tar(&self, path: &Path, files: &[OwnFile]) -> Result<(), ImageError> {
        let file = File::create(path).map_err(failed("write", path))?;
        let write = || -> Result<(), LayerError> {
            let mut writer = LayerWriter::new(io::BufWriter::new(file));
            for own in files {
                let mut entry = match &own.content {
                    Some(content) => Entry::file(&own.path, content.len() as u64, own.mode, self.epoch_seconds),
                    None => Entry::directory(&own.path, self.epoch_seconds),
                };
                entry.mode = own.mode;
                (entry.uid, entry.gid) = (u64::from(own.owner), u64::from(own.owner));
                writer.append(&entry, &mut own.content.as_deref().unwrap_or_default())?;
            }
            if path.ends_with("first.tar") {
                for (link, target) in &self.recipe.links {
                    writer.append(&Entry::symlink(link, target, self.epoch_seconds), &mut io::empty())?;
                }
            }
            writer.finish().map(|_| ())
        };
        write().map_err(|cause| self.layer_failed(cause))
    }
}

enum Failure {
    Child(ChildError),
    Image(ImageError),
}

impl From<ChildError> for Failure {
    fn from(error: ChildError) -> Self {
        Self::Child(error)
    }
}

fn directory(path: &str) -> OwnFile {
    OwnFile {
        path: path.to_owned(),
        content: None,
        mode: 0o755,
        owner: 0,
    }
}

fn setup_path(number: usize) -> String {
    format!("/{NOTES_DIRECTORY}/setup-{number}.sh")
}

/// As root, apt and dpkg could change the machine itself should they ever miss the new root: in the mount namespace of
/// the bootstrap, the machine's own packages can only be read. There the tree
/// itself can be in memory, too: a third of the time goes into files that are thrown away.
const PROTECT_MACHINE: &str = "if [ -n \"${LOCKSTEP_TREE_BYTES-}\" ]; then \
    mount -t tmpfs -o \"size=$LOCKSTEP_TREE_BYTES,mode=0755\" lockstep \"$TMPDIR\"; fi; for directory in /boot /etc /opt /usr /var/lib/apt /var/lib/dpkg; do \
    if [ -d \"$directory\" ]; then mount --bind \"$directory\" \"$directory\"; \
    mount -o remount,bind,ro \"$directory\"; fi; done; exec mmdebstrap \"$@\"";

/// Without root, mmdebstrap has to remove its tree itself, but does so at once only when the whole group is asked to end,
/// as a terminal does it; the kernel asks one process alone when lockstep has died.
const END_AS_GROUP: &str = "exec 3<&0; mmdebstrap \"$@\" <&3 3<&- & child=$!; exec 3<&-; \
    trap 'trap \"\" TERM; kill -TERM 0; wait $child; exit 143' TERM; wait $child";

/// Layers above the lowest say by whiteouts what is gone.
const APPLY_WHITEOUTS: &str = "find \"$1\" -xdev -name '.wh.*' -exec sh -c 'for path; do \
    name=${path##*/}; rm -rf -- \"${path%/*}/${name#.wh.}\" \"$path\"; done' sh {} +";

/// Installs packages on top of a base: apt runs outside, dpkg in the new root (as mmdebstrap itself does it).
fn install(packages: &[String]) -> String {
    let words: Vec<String> = packages.iter().map(|package| quote(package)).collect();
    format!(
        "APT_CONFIG=\"$MMDEBSTRAP_APT_CONFIG\" apt-get --yes -oDir::Bin::dpkg=env -oDPkg::Options::=--unset=TMPDIR \
         -oDPkg::Options::=dpkg -oDPkg::Chroot-Directory=\"$1\" install {}",
        words.join(" ")
    )
}

/// Notes what was unpacked, also where those look who search an image without a package manager for its packages.
const NOTE_UNPACKED: &str = "mkdir -p \"$1/var/lib/dpkg/status.d\"; for file in $MMDEBSTRAP_ESSENTIAL; do \
    name=$(dpkg-deb --field \"$1/$file\" Package) && \
    dpkg-deb --field \"$1/$file\" > \"$1/var/lib/dpkg/status.d/$name\" && \
    dpkg-deb --show --showformat='${Package} ${Version} ${Architecture}\\n' \"$1/$file\" \
      >> \"$1/tmp/lockstep/packages\" || exit 1; done";

/// Tells apt which packages a base of unpacked ones has, so that it downloads only what is missing there.
const KNOW_UNPACKED: &str = "mkdir -p \"$1/var/lib/dpkg\"; for file in \"$1\"/var/lib/dpkg/status.d/*; do \
    if [ -f \"$file\" ]; then sed '/^$/d' \"$file\" && echo 'Status: install ok installed' && echo || exit 1; fi; \
    done > \"$1/var/lib/dpkg/status\"";

/// Nothing is installed in an image of unpacked packages, so its list of installed ones is empty again.
const FORGET_UNPACKED: &str = ": > \"$1/var/lib/dpkg/status\"";

/// The names that maintainer scripts would make of programs that were only unpacked, as far as builds call them.
const LINK_ALTERNATIVES: &str = "for pair in awk:mawk cc:gcc c++:g++ 'aclocal:aclocal-1.*' 'automake:automake-1.*'; do \
    name=\"$1/usr/bin/${pair%%:*}\"; for program in \"$1/usr/bin/\"${pair#*:}; do \
    if [ ! -e \"$name\" ] && [ ! -L \"$name\" ] && [ -e \"$program\" ]; then \
    ln -s \"${program##*/}\" \"$name\" || exit 1; fi; done; done";

/// Notes what is installed, and what was for a while: a setup script may need packages that the image does not. Where
/// nothing was installed on top of a base, there is no log: no image keeps one.
const NOTE_INSTALLED: &str = "if [ -x \"$1/usr/bin/dpkg-query\" ]; then \
    chroot \"$1\" dpkg-query --show --showformat='${db:Status-Status} ${Package} ${Version} ${Architecture}\\n' \
    | sed -n 's/^installed //p' > \"$1/tmp/lockstep/packages\" || exit 1; \
    if [ -e \"$1/var/log/dpkg.log\" ]; then \
    awk '$3 == \"install\" { split($4, name, \":\"); print name[1], $6, name[2] }' \"$1/var/log/dpkg.log\" \
    >> \"$1/tmp/lockstep/packages\"; fi; fi";

/// Notes of which sources all packages of the image are (deb-control(5), "Source").
const NOTE_SOURCES: &str = "if [ -d \"$1/var/lib/dpkg/status.d\" ]; then for file in \"$1\"/var/lib/dpkg/status.d/*; do \
    awk '/^Package: / { name = $2 } /^Version: / { version = $2 } /^Source: / { source = $2; of = $3 } \
    END { gsub(/[()]/, \"\", of); print name, version, source ? source : name, of ? of : version }' \"$file\" || exit 1; \
    done; else chroot \"$1\" dpkg-query --show \
    --showformat='${db:Status-Status} ${Package} ${Version} ${source:Package} ${source:Version}\\n' \
    | sed -n 's/^installed //p'; fi > \"$1/tmp/lockstep/sources\"";

/// What apt downloaded about packages is large, and the image must not have it.
const REMOVE_LISTS: &str = "rm -rf \"$1\"/var/lib/apt/lists/* \"$1\"/var/cache/apt/*.bin";

/// What a line of the log says of what is being done, in a few words.
fn progress_message(line: &str) -> Option<String> {
    let line = line.trim();
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        ["I:", first, ..] if line.contains("hook") || ["skipping", "using"].contains(&first) => None,
        ["I:", ..] => Some(line[2..].trim().trim_end_matches('.').to_owned()),
        // `Get:5 http://… trixie/main amd64 gcc amd64 14.2 [1 kB]`
        [get, _, _, _, package, _, _, ..] if get.starts_with("Get:") && package != "Packages" => {
            Some(format!("downloading {package}"))
        }
        ["Unpacking", package, ..] => Some(format!("unpacking {package}")),
        ["Setting", "up", package, ..] => Some(format!("setting up {package}")),
        ["Compiling", package, ..] => Some(format!("compiling {package}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_tells_what_is_done() {
        for (line, expected) in [
            ("I: extracting archives...", Some("extracting archives")),
            ("I: running --setup-hook in shell: sh -c 'x'", None),
            (
                "Get:5 http://m.example trixie/main amd64 gcc amd64 14.2 [1 kB]",
                Some("downloading gcc"),
            ),
            ("Unpacking gcc-14 (14.2.0-19) ...", Some("unpacking gcc-14")),
            ("Setting up gcc-14 (14.2.0-19) ...", Some("setting up gcc-14")),
            ("   Compiling core v0.0.0 (/usr/src)", Some("compiling core")),
            ("Reading package lists...", None),
            ("", None),
        ] {
            assert_eq!(progress_message(line).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn scripts_of_hooks_are_shell() {
        let package_script = install(&["gcc".to_owned(), "g++".to_owned()]);
        for script in [
            PROTECT_MACHINE,
            END_AS_GROUP,
            APPLY_WHITEOUTS,
            KNOW_UNPACKED,
            FORGET_UNPACKED,
            LINK_ALTERNATIVES,
            NOTE_UNPACKED,
            NOTE_INSTALLED,
            NOTE_SOURCES,
            REMOVE_LISTS,
            USE_REPOSITORY,
            &package_script,
        ] {
            let status = Command::new("sh").args(["-n", "-c", script]).status().unwrap();
            assert!(status.success(), "{script}");
        }
    }

    #[test]
    fn programs_that_were_only_unpacked_get_their_names() {
        let directory = tempfile::tempdir().unwrap();
        let programs = directory.path().join("usr/bin");
        fs::create_dir_all(&programs).unwrap();
        for name in ["gcc", "g++", "c++", "aclocal-1.17", "automake-1.17"] {
            fs::write(programs.join(name), "").unwrap();
        }
        let root = directory.path().to_str().unwrap();
        let status = Command::new("sh")
            .args(["-euc", LINK_ALTERNATIVES, "sh", root])
            .status();
        assert!(status.unwrap().success());
        let target = |name: &str| fs::read_link(programs.join(name)).ok();
        let targets = ["cc", "c++", "awk", "aclocal", "automake"].map(target);
        let expected = [Some("gcc"), None, None, Some("aclocal-1.17"), Some("automake-1.17")];
        assert_eq!(
            targets,
            expected.map(|name| name.map(|name| Path::new(name).to_path_buf()))
        );
    }

    #[test]
    fn the_whole_group_ends_and_may_clean_up() {
        use std::os::unix::process::CommandExt as _;

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let program = "#!/bin/sh\ntrap 'touch cleaned; exit 1' TERM\ncat > input\nsleep 60 &\ntouch started\nwait\n";
        fs::write(path.join("mmdebstrap"), program).unwrap();
        let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
        fs::set_permissions(path.join("mmdebstrap"), mode).unwrap();
        fs::write(path.join("stdin"), "sources").unwrap();
        let mut child = Command::new("sh")
            .args(["-uc", END_AS_GROUP, "sh"])
            .current_dir(path)
            .env("PATH", format!("{}:/usr/bin:/bin", path.display()))
            .stdin(File::open(path.join("stdin")).unwrap())
            .process_group(0)
            .spawn()
            .unwrap();
        let until = |name: &str| {
            for _ in 0..200 {
                if path.join(name).exists() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            panic!("no {name}");
        };
        until("started");
        let status = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        assert!(status.unwrap().success());
        until("cleaned");
        assert_eq!(child.wait().unwrap().code(), Some(143));
        assert_eq!(fs::read_to_string(path.join("input")).unwrap(), "sources");
    }

    #[test]
    fn whiteouts_are_applied() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/gone/x")).unwrap();
        for file in ["a/.wh.gone", "a/kept", "a/.wh.not there"] {
            fs::write(root.path().join(file), "").unwrap();
        }
        let status = Command::new("sh")
            .args(["-c", APPLY_WHITEOUTS, "sh"])
            .arg(root.path())
            .status()
            .unwrap();
        assert!(status.success());
        let names: Vec<_> = fs::read_dir(root.path().join("a"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["kept"]);
    }
}
