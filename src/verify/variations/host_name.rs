//! What the machine is called.

use super::super::{Kind, Variation};

pub(super) const HOST_NAME: Variation = Variation {
    name: "host-name",
    description: "the machine and its domain have other names",
    limits: "",
    kind: Some(Kind::HostName),
    traces: &["another-host", "elsewhere.example"],
    is_alone: false,
    vary: |setting| {
        setting.host_name = Some("another-host");
        setting.domain_name = Some("elsewhere.example");
    },
    hold: None,
};
