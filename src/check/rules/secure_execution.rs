//! A host that is given rights which whoever starts it has not.

use crate::check::Rule;
use crate::check::fault::Fault;
use crate::check::secure::{Gain, NoStart};
use crate::check::{Finding, Predicted, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "secure-execution",
    description: "a host that is given rights does not trust who starts it, or is not started",
    explanation: "A program with file capabilities, set-user-ID or set-group-ID is in secure-execution mode (AT_SECURE) when \
                  whoever starts it has not what it gives: of capabilities everybody but root, also who has them as ambient \
                  ones. Then glibc reads neither LD_LIBRARY_PATH nor GLIBC_TUNABLES, and since 2.39 not LD_BIND_NOW; of \
                  LD_PRELOAD it takes names without a slash, of files with set-user-ID, and not by its cache; $ORIGIN counts at \
                  the beginning of a search path's element only, and the program's own only below the loader's directories; a \
                  token in DT_NEEDED ends the program, or dlopen: \"DST not allowed in SUID/SGID programs\". musl reads no \
                  variable, and no DT_RUNPATH of the program that has $ORIGIN. In both, $ORIGIN of a plugin counts.\n\n\
                  A mount with nosuid makes all of that void; no_new_privs (the smoke test, `no-new-privileges` of engines and \
                  systemd) set-user-ID and set-group-ID, and capabilities that are not in effect from the start (`=p`). A host \
                  with capabilities in effect (`=ep`) that its process may not have is not started by anybody, root included: \
                  \"Operation not permitted\". Engines leave containers 14 capabilities; --cap-drop says what is missing.\n\n\
                  Put libraries where the loader's own search finds them (a directory of ldconfig, an absolute -rpath), or give \
                  the rights to the process and not to the file: AmbientCapabilities= of systemd, a user of its own.",
};

/// A host that the kernel does not start.
pub(super) fn refused(fault: &Fault, why: &NoStart) -> Finding {
    let finding = |title: String| Finding::new(RULE.code, Verdict::Refuse, &fault.object, title);
    match why {
        NoStart::Dropped(capabilities) => finding(format!(
            "`{}` cannot be started: it is to have {capabilities}, which no process may have there",
            fault.object
        ))
        .evidence(
            "its file capabilities are in effect from the start, so the kernel gives all of them or does not start it",
        )
        .hint(format!(
            "let the container or the service have {capabilities} (--cap-add), or take it from the file: setcap"
        )),
        NoStart::Malformed => finding(format!(
            "`{}` cannot be started: what its attribute security.capability has is none that the kernel reads",
            fault.object
        ))
        .hint("write it again: setcap; or remove it: setcap -r"),
    }
}

/// An object whose `DT_NEEDED` has a token.
pub(super) fn token(fault: &Fault, library: &str, gain: Option<&Gain>) -> Finding {
    let title = format!(
        "`{}` needs `{library}`, and a host with rights of its own follows no $ORIGIN, $LIB or $PLATFORM in DT_NEEDED",
        fault.object
    );
    let finding = Finding::new(RULE.code, Verdict::Refuse, library, title);
    with_gain(finding, gain).hint(format!(
        "let DT_NEEDED of `{}` name the library alone (patchelf --replace-needed), and find it by an absolute -rpath",
        fault.object
    ))
}

/// A plugin that fares otherwise with a host that is started by somebody who has not what it gives.
pub(super) fn doubtful(host: &str, plugin: &str, gain: &Gain, (verdict, predicted): (Verdict, &Predicted)) -> Finding {
    let title = format!("what becomes of `{plugin}` depends on who starts `{host}`, which {gain}");
    let words = predicted
        .message
        .as_deref()
        .map_or_else(String::new, |words| format!(": {words}"));
    Finding::new(RULE.code, Verdict::Unknown, host, title)
        .evidence(format!(
            "for whoever has not what the host gives, it is {}{words}",
            verdict.word()
        ))
        .evidence(gain.conditions())
        .hint("say who starts it: --user")
}

/// Says of a finding what the mode has to do with it.
pub(super) fn with_gain(finding: Finding, gain: Option<&Gain>) -> Finding {
    let Some(gain) = gain else { return finding };
    finding
        .evidence(format!("the host starts in secure-execution mode: it {gain}"))
        .evidence(gain.conditions())
}
