//! C and C++: all sources of the unit's directory into one program or shared object.

use std::collections::BTreeMap;

use super::{EXPORTS_FILE, Language, OUT_ROOT, SOURCE_ROOT, TARGET_ROOT, quote};
use crate::config::{LanguageName, Unit, UnitRole};

/// Prints the C compiler's version alone.
pub(super) const CC_VERSION: &str = "${CC:-cc} -dumpfullversion";

pub(super) const C: Language = Language {
    name: LanguageName::C,
    dependency_files: &[],
    fetch: nothing_to_fetch,
    compile: |unit| compile(unit, "${CC:-cc}", "CFLAGS", &["c"]),
    variables: &[],
    dependency_paths: &[],
    dependency_endings: &[],
    cache: None,
    toolchains: &[("gcc", CC_VERSION)],
};

pub(super) const CPP: Language = Language {
    name: LanguageName::Cpp,
    dependency_files: &[],
    fetch: nothing_to_fetch,
    compile: |unit| compile(unit, "${CXX:-c++}", "CXXFLAGS", &["cpp", "cc", "cxx"]),
    variables: &[],
    dependency_paths: &[],
    dependency_endings: &[],
    cache: None,
    toolchains: &[("g++", "${CXX:-c++} -dumpfullversion")],
};

/// Flags of every compile, beside those that every command has (`src/language/flags.rs`).
const FLAGS: &str = "-fPIC -Wall";
/// Flags of every link: addresses are bound at load rather than at the first call.
const LINK_FLAGS: &str = "-Wl,-z,now -Wl,-z,relro -Wl,-z,noexecstack";
/// A plugin's own calls go to its own functions even when another plugin, loaded globally, has one of the same name.
const PLUGIN_FLAGS: &str = "-shared -Wl,-Bsymbolic";
/// A host's functions can be used by its plugins.
const HOST_FLAGS: &str = "-rdynamic";

fn nothing_to_fetch(_: &Unit, _: &BTreeMap<String, String>) -> Option<String> {
    None
}

fn compile(unit: &Unit, compiler: &str, flags_variable: &str, suffixes: &[&str]) -> String {
    let role_flags = match unit.role {
        UnitRole::Host => HOST_FLAGS,
        UnitRole::Plugin => PLUGIN_FLAGS,
    };
    let includes: String = unit
        .inputs
        .iter()
        .map(|input| format!(" -I{}", quote(&format!("{SOURCE_ROOT}/{input}"))))
        .collect();
    let artifact = quote(&format!(
        "{OUT_ROOT}/{}",
        unit.artifacts.first().map_or("", String::as_str)
    ));
    let patterns: Vec<String> = suffixes.iter().map(|suffix| format!("*.{suffix}")).collect();
    let link = |flags: &str, artifact: &str| {
        format!(
            "{compiler} {FLAGS} ${{{flags_variable}-}} {role_flags} -o {artifact} \"$@\" {LINK_FLAGS} {flags} ${{LDFLAGS-}} ${{LDLIBS-}}"
        )
    };
    // Everything undefined is an error now rather than at load, but for what the host of a plugin exports: that is in a
    // library which only a link that is thrown away sees, or the plugin would need it.
    let links = match unit.role {
        UnitRole::Host => link("-Wl,-z,defs", &artifact),
        UnitRole::Plugin => format!(
            "if [ -s {EXPORTS_FILE} ]; then
  {compiler} -shared -nostdlib -o {TARGET_ROOT}/host.so {EXPORTS_FILE}
  {}
  {}
else
  {}
fi",
            link(
                &format!("-Wl,-z,defs {TARGET_ROOT}/host.so"),
                &format!("{TARGET_ROOT}/linked.so")
            ),
            link("-Wl,-z,undefs", &artifact),
            link("-Wl,-z,defs", &artifact),
        ),
    };
    // The shell sorts what a pattern matches (in the C locale), so the order of the objects is always the same.
    format!(
        "set --
number=0
for source in {patterns}; do
  if [ -f \"$source\" ]; then
    number=$((number + 1))
    {compiler} {FLAGS}{includes} ${{{flags_variable}-}} -c -o {TARGET_ROOT}/$number.o \"$source\"
    set -- \"$@\" {TARGET_ROOT}/$number.o
  fi
done
if [ $# = 0 ]; then echo 'no {suffixes} file in {source}' >&2; exit 1; fi
{links}",
        patterns = patterns.join(" "),
        suffixes = suffixes.join(", "),
        source = unit.source.replace('\'', "?"),
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::unit;
    use super::*;

    #[test]
    fn inputs_are_searched_for_headers() {
        let mut unit = unit(LanguageName::C, UnitRole::Plugin, "x.so");
        unit.inputs = vec!["plugins/include".to_owned()];
        let script = (C.compile)(&unit);
        assert!(
            script.contains("-I/lockstep/src/plugins/include") && script.contains("-shared"),
            "{script}"
        );
    }

    #[test]
    fn a_host_is_no_shared_object() {
        assert!(!(C.compile)(&unit(LanguageName::C, UnitRole::Host, "x")).contains("-shared"));
    }
}
