//! A library is missing.

use super::secure_execution::with_gain;
use crate::check::Rule;
use crate::check::fault::{Fault, Skipped};
use crate::check::secure::Gain;
use crate::check::{Finding, Phase, Verdict};
use crate::rootfs::FILES_DIRECTORY;

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "library-missing",
    description: "a library that is needed is not found",
    explanation: "Every name in DT_NEEDED must be found when the plugin is opened, or be loaded already.\n\n\
                  glibc looks in DT_RPATH of the object and of those that needed it (unless the object has a DT_RUNPATH), \
                  in LD_LIBRARY_PATH, in DT_RUNPATH of the object alone, in /etc/ld.so.cache, and in the default \
                  directories. The host's DT_RUNPATH does not count for what its plugins need; /usr/local/lib counts only \
                  through the cache, so after ldconfig; the cache knows libraries by their DT_SONAME.\n\n\
                  musl looks in LD_LIBRARY_PATH, then in DT_RUNPATH or DT_RPATH of the object and of all that needed it, \
                  then in the directories of /etc/ld-musl-ARCH.path, or /lib, /usr/local/lib and /usr/lib. Names that \
                  begin with libc., libpthread., librt., libm., libdl., libutil. or libxnet. are itself.\n\n\
                  Add the package that has the library to the runtime image, or ship it beside the plugin and link with \
                  `-Wl,-rpath,$ORIGIN`.",
};

pub(super) fn finding(
    fault: &Fault,
    library: &str,
    searched: &[String],
    skipped: &[Skipped],
    unused: Option<&str>,
) -> Finding {
    let title = format!("`{}` needs {library}, which is not found", fault.object);
    let mut finding = Finding::new(RULE.code, Verdict::Refuse, library, title);
    for file in skipped {
        finding = finding.evidence(match &file.why {
            Some(why) => format!("{} was passed over: {why}", file.path),
            None => format!("/etc/ld.so.cache names {}, and nothing is there", file.path),
        });
    }
    if !searched.is_empty() {
        finding = finding.evidence(format!("searched: {}", searched.join(", ")));
    }
    if let Some(directory) = unused {
        finding = finding.evidence(format!(
            "it is in {directory}, which /etc/ld.so.conf names; that counts only once ldconfig has run"
        ));
    }
    if searched.iter().any(|directory| directory.starts_with(FILES_DIRECTORY)) {
        finding = finding.evidence(format!(
            "{FILES_DIRECTORY} stands for one directory with the files that were named; what else lies beside them is not there"
        ));
    }
    let of_whom = if fault.phase == Phase::Exec {
        "program"
    } else {
        "plugin"
    };
    let hint = match library {
        name if name.contains('/') => {
            "it is needed by a path, which no search path changes: link it against a library with a DT_SONAME (-Wl,-soname)"
                .to_owned()
        }
        name if name.starts_with("libc.musl-") || name == "libc.so" => {
            "it was built for musl: build it in the host's environment, with glibc".to_owned()
        }
        name if name.starts_with("ld-linux") => {
            "it was built for glibc: build it in the host's environment, with musl".to_owned()
        }
        name if name.starts_with("libstd-") => {
            "a Rust dylib needs the standard library of exactly its toolchain beside it; build a cdylib, or ship it with -C rpath".to_owned()
        }
        _ if skipped.iter().any(|file| file.why.is_none()) => {
            format!("install the package that has {library} again, or run ldconfig if it is somewhere else now")
        }
        _ if !skipped.is_empty() => "let the host read what was passed over, or put the right file there".to_owned(),
        _ => format!(
            "add the package that has {library} to the runtime image, or ship it beside the {of_whom} and link `{}` with \
             '-Wl,-rpath,$ORIGIN' (in quotes, in make with $$)",
            fault.object
        ),
    };
    finding.hint(hint)
}

/// The same of a host that does not look where the library is, since whoever starts it could have said so.
pub(super) fn of_secure_host(finding: Finding, directory: &str, by: &str, gain: Option<&Gain>) -> Finding {
    let finding = finding.evidence(format!("it is in {directory}, which {by} names; that does not count"));
    with_gain(finding, gain).hint(format!(
        "let the loader find it by itself: an absolute -Wl,-rpath,{directory}, or a directory of ldconfig; or give the rights to the \
         process and not to the file (AmbientCapabilities= of systemd)"
    ))
}
