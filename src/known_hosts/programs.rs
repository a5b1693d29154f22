//! Programs that build files look for, and the packages of [`super::SUITE`] that have them, where an image of compilers has
//! not got them by itself.

/// What Meson and autoconf look for programs with: `find_program('perl')`, `AC_CHECK_PROGS([PERL], [perl])`.
const CALLS: &[&str] = &[
    "find_program",
    "AC_PATH_PROG",
    "AC_PATH_PROGS",
    "AC_PATH_TOOL",
    "AC_CHECK_PROG",
    "AC_CHECK_PROGS",
    "AC_CHECK_TOOL",
    "AM_PATH_PYTHON",
];

#[rustfmt::skip]
const PROGRAMS: &[(&str, &str)] = &[
    ("bison",       "bison"),
    ("flex",        "flex"),
    ("gettext",     "gettext"),
    ("git",         "git"),
    ("gperf",       "gperf"),
    ("help2man",    "help2man"),
    ("m4",          "m4"),
    ("msgfmt",      "gettext"),
    ("nasm",        "nasm"),
    ("perl",        "perl"),
    ("python",      "python3"),
    ("python3",     "python3"),
    ("xmllint",     "libxml2-utils"),
    ("xsltproc",    "xsltproc"),
    ("xxd",         "xxd"),
    ("yasm",        "yasm"),
];

/// The packages of the programs that texts of build files look for.
pub fn programs(texts: &[&str]) -> Vec<&'static str> {
    let lines = texts.iter().flat_map(|text| text.lines());
    let looks = lines
        .filter_map(|line| line.split('#').next())
        .filter(|line| CALLS.iter().any(|call| line.contains(call)));
    let is_part = |character: char| character.is_ascii_alphanumeric() || "-._+".contains(character);
    let words: Vec<&str> = looks
        .flat_map(|line| line.split(|character| !is_part(character)))
        .collect();
    let known = PROGRAMS.iter().filter(|(program, _)| words.contains(program));
    known.map(|(_, package)| *package).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::packages::is_requested_package;

    #[test]
    fn programs_are_told_by_who_looks_for_them() {
        assert_eq!(
            programs(&["build_perl = find_program('perl', native : true)\n"]),
            ["perl"]
        );
        assert_eq!(
            programs(&["AC_CHECK_PROGS([Y], [bison yacc])\nAC_PATH_PROG(P, xsltproc)"]),
            ["bison", "xsltproc"]
        );
        assert_eq!(
            programs(&["# find_program('perl')\nperl = 'x'\nfind_program('perldoc')\n"]),
            [""; 0]
        );
        assert!(PROGRAMS.iter().all(|(_, package)| is_requested_package(package)));
    }
}
