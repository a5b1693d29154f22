use super::super::Variation;

/// The image itself, which a rebuild has to be given.
pub const IMAGE: Variation = Variation {
    name: "image",
    description: "the build image is made again, from its recipe or its locked packages, instead of loaded",
    limits: "with --images alone; nothing where the same image comes out, and for images that a registry made",
    kind: None,
    traces: &[],
    is_alone: true,
    vary: |setting| setting.is_in_remade_image = true,
    hold: None,
};
