//! The locale.

use super::super::Variation;

/// Takes a locale that the image has, if it has one and the unit has not chosen.
const OTHER_LOCALE: &str = r#"if [ "$LC_ALL" = POSIX ]; then
  other=$(locale -a 2>/dev/null | grep -v -i -E '^(c|posix)([.]|$)' | head -n 1) || other=
  if [ -n "$other" ]; then export LC_ALL="$other" LANG="$other"; fi
fi"#;

pub(super) const LOCALE: Variation = Variation {
    name: "locale",
    description: "another locale: the first of the image that is not C, else C without UTF-8",
    limits: "an image without other locales sorts in one way alone; a unit that sets LC_ALL or LANG keeps it",
    kind: None,
    traces: &[],
    is_alone: false,
    vary: |setting| {
        setting.variables.insert("LANG", "POSIX");
        setting.variables.insert("LC_ALL", "POSIX");
        setting.first.push(OTHER_LOCALE);
    },
    hold: None,
};
