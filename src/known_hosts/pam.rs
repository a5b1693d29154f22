//! PAM: authentication modules, opened by libpam in pamtester.

use super::source_text::defined;
use super::{GENERATED_FIRST, KnownHost, any_artifact};
use crate::config::LanguageName;

/// The functions of the four kinds of services (pam(3)).
const SERVICES: &[&str] = &[
    "pam_sm_acct_mgmt",
    "pam_sm_authenticate",
    "pam_sm_chauthtok",
    "pam_sm_close_session",
    "pam_sm_open_session",
    "pam_sm_setcred",
];

pub(super) const PAM: KnownHost = KnownHost {
    name: "pam",
    other_names: &["pamtester"],
    path: "/usr/bin/pamtester",
    install: Some("/usr/lib/x86_64-linux-gnu/security"),
    runtime_packages: &["pamtester"],
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
    entries: |text| defined(text, |name| SERVICES.contains(&name)),
    artifact: any_artifact,
    language: LanguageName::C,
    env: &[("LDLIBS", "-lpam")],
    // It would take a service's file in /etc/pam.d that says how the module is used.
    smoke: |_| None,
    rust_note: None,
    note: Some(
        "the host opens the module and nothing more: for an authentication, give the runtime recipe a file in /etc/pam.d and write a smoke test with pamtester",
    ),
};
