//! PAM: authentication modules, opened by libpam in pamtester.

use super::source_text::defined;
use super::{
    GENERATED_FIRST, KnownHost, SmokeFile, SmokePlugin, SmokeStep, SmokeTest, any_artifact, nothing_beside, same_name,
};
use crate::config::LanguageName;

/// The functions of a module (pam(3)): of which group of services each is, and the operation of pamtester that calls it. What
/// sets credentials is called with those of who asks, and does nothing without authentication.
const SERVICES: &[(&str, &str, Option<&str>)] = &[
    ("pam_sm_authenticate", "auth", Some("authenticate")),
    ("pam_sm_setcred", "auth", None),
    ("pam_sm_acct_mgmt", "account", Some("acct_mgmt")),
    ("pam_sm_open_session", "session", Some("open_session")),
    ("pam_sm_close_session", "session", Some("close_session")),
    ("pam_sm_chauthtok", "password", Some("chauthtok")),
];
/// Who is asked for: a user of the runtime image.
const USER: &str = "lockstep";

pub(super) const PAM: KnownHost = KnownHost {
    name: "pam",
    other_names: &["pamtester"],
    path: "/usr/bin/pamtester",
    install: Some("/usr/lib/x86_64-linux-gnu/security"),
    runtime_packages: &["libpam-modules", "pamtester"],
    build_packages: &[
        "gcc",
        "libc6-dev",
        "libpam0g-dev",
        "make",
        "autoconf",
        "automake",
        "libtool",
    ],
    program_directory: None,
    links: &[],
    files: &[],
    words: &["pam_modules.h", "pam_appl.h"],
    needs_words: false,
    crates: &["pam-bindings", "pamsm"],
    own_build: None,
    systems: GENERATED_FIRST,
    fallback: None,
    symbols: &[],
    entries: |text| defined(text, |name| SERVICES.iter().any(|(function, ..)| *function == name)),
    artifact: any_artifact,
    language: LanguageName::C,
    env: &[("LDLIBS", "-lpam")],
    beside: nothing_beside,
    smoke,
    cargo_place: same_name,
    note: None,
};

/// For each module a service that takes whatever the module says, but not that it cannot be opened or lacks the function: what
/// it must say is for who knows it.
fn smoke(plugins: &[SmokePlugin<'_>]) -> Option<SmokeTest> {
    let mut test = SmokeTest::default();
    for plugin in plugins {
        let has = |function: &str| plugin.entries.iter().any(|entry| entry == function);
        let called: Vec<(&str, &str)> = SERVICES
            .iter()
            .filter(|(function, ..)| has(function))
            .filter_map(|(_, group, operation)| Some((*group, (*operation)?)))
            .collect();
        if called.is_empty() {
            return None;
        }
        let service = format!("{USER}-{}", plugin.stem());
        let mut groups: Vec<&str> = called.iter().map(|(group, _)| *group).collect();
        groups.dedup();
        let line = |group: &str| {
            format!(
                "{group} [module_unknown=die default=ignore] {}\n{group} required pam_permit.so\n",
                plugin.artifact
            )
        };
        test.files.push(SmokeFile {
            path: format!("/etc/pam.d/{service}"),
            content: groups.into_iter().map(line).collect(),
        });
        let words = ["pamtester", &service, USER].into_iter();
        let operations = called.iter().map(|(_, operation)| *operation);
        test.steps.push(SmokeStep::run(words.chain(operations)));
    }
    Some(test)
}

#[cfg(test)]
mod tests {
    use super::super::Beside;
    use super::*;

    #[test]
    fn a_service_calls_what_a_module_has() {
        let entries = ["pam_sm_close_session", "pam_sm_open_session", "pam_sm_setcred"].map(str::to_owned);
        let beside = Beside::default();
        let plugin = SmokePlugin {
            artifact: "pam_x.so",
            entries: &entries,
            beside: &beside,
        };
        let test = smoke(&[plugin]).unwrap();
        assert_eq!(test.files[0].path, "/etc/pam.d/lockstep-pam_x");
        assert_eq!(
            test.files[0].content,
            "session [module_unknown=die default=ignore] pam_x.so\nsession required pam_permit.so\n"
        );
        let words = [
            "pamtester",
            "lockstep-pam_x",
            "lockstep",
            "open_session",
            "close_session",
        ];
        assert_eq!(test.steps[0].command, words);
    }
}
