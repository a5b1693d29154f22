//! Libraries that build files ask for, by the names that pkg-config, CMake and linkers know, and the packages of
//! [`super::SUITE`] that have them.

use std::collections::BTreeSet;

/// A library of the distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Library {
    /// What build files call it.
    names: &'static [&'static str],
    /// What compiling needs.
    pub build_package: &'static str,
    /// What running needs.
    pub runtime_package: &'static str,
}

const fn library(
    names: &'static [&'static str],
    build_package: &'static str,
    runtime_package: &'static str,
) -> Library {
    Library {
        names,
        build_package,
        runtime_package,
    }
}

/// Those that are asked for often. A name that is also an ordinary word is not here.
#[rustfmt::skip]
const LIBRARIES: &[Library] = &[
    library(&["alsa"],                                  "libasound2-dev",         "libasound2t64"),
    library(&["cairo"],                                 "libcairo2-dev",          "libcairo2"),
    library(&["dbus-1"],                                "libdbus-1-dev",          "libdbus-1-3"),
    library(&["expat"],                                 "libexpat1-dev",          "libexpat1"),
    library(&["fftw3", "fftw3f"],                       "libfftw3-dev",           "libfftw3-double3"),
    library(&["glib-2.0", "gmodule-2.0", "gobject-2.0"], "libglib2.0-dev",        "libglib2.0-0t64"),
    library(&["gtkmm-2.4"],                             "libgtkmm-2.4-dev",       "libgtkmm-2.4-1t64"),
    library(&["hiredis"],                               "libhiredis-dev",         "libhiredis1.1.0"),
    library(&["jansson"],                               "libjansson-dev",         "libjansson4"),
    library(&["json-c"],                                "libjson-c-dev",          "libjson-c5"),
    library(&["krb5"],                                  "libkrb5-dev",            "libkrb5-3"),
    library(&["libcurl"],                               "libcurl4-openssl-dev",   "libcurl4t64"),
    library(&["libevent"],                              "libevent-dev",           "libevent-2.1-7t64"),
    library(&["libpcre2-8"],                            "libpcre2-dev",           "libpcre2-8-0"),
    library(&["libsystemd"],                            "libsystemd-dev",         "libsystemd0"),
    library(&["libuv"],                                 "libuv1-dev",             "libuv1t64"),
    library(&["libxml-2.0"],                            "libxml2-dev",            "libxml2"),
    library(&["libzstd"],                               "libzstd-dev",            "libzstd1"),
    library(&["maxminddb", "libmaxminddb"],             "libmaxminddb-dev",       "libmaxminddb0"),
    library(&["ncurses", "ncursesw", "tinfo"],          "libncurses-dev",         "libncursesw6"),
    library(&["libcrypto", "libssl", "openssl"],        "libssl-dev",             "libssl3t64"),
    library(&["samplerate"],                            "libsamplerate0-dev",     "libsamplerate0"),
    library(&["sndfile"],                               "libsndfile1-dev",        "libsndfile1"),
    library(&["sqlite3"],                               "libsqlite3-dev",         "libsqlite3-0"),
    library(&["yaml-0.1"],                              "libyaml-dev",            "libyaml-0-2"),
    library(&["zlib"],                                  "zlib1g-dev",             "zlib1g"),
];

/// The libraries that a text of a build file names: `dependency('zlib')`, `PKG_CHECK_MODULES(Z, zlib)`, `-lz` of `$(LIBS)`.
pub fn named(texts: &[&str]) -> Vec<&'static Library> {
    let is_part = |character: char| character.is_ascii_alphanumeric() || "-._+".contains(character);
    let lines = texts.iter().flat_map(|text| text.lines());
    let words: BTreeSet<&str> = lines
        .filter_map(|line| line.split('#').next())
        .flat_map(|line| line.split(|character| !is_part(character)))
        .map(|word| word.strip_prefix("-l").unwrap_or(word))
        .collect();
    let is_named = |library: &&Library| library.names.iter().any(|name| words.contains(name));
    LIBRARIES.iter().filter(is_named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::packages::is_requested_package;

    #[test]
    fn libraries_are_told_by_their_names() {
        let packages =
            |text: &str| -> Vec<&str> { named(&[text]).iter().map(|library| library.build_package).collect() };
        assert_eq!(
            packages("dependency('glib-2.0', version: '>= 2')\n# zlib\n"),
            ["libglib2.0-dev"]
        );
        assert_eq!(packages("LDFLAGS=-lpam -lmaxminddb\n"), ["libmaxminddb-dev"]);
        assert_eq!(packages("PKG_CHECK_MODULES([X], [sndfile >= 1])"), ["libsndfile1-dev"]);
        assert_eq!(packages("zlibx sndfile2"), [""; 0]);
        for library in LIBRARIES {
            assert!(is_requested_package(library.build_package) && is_requested_package(library.runtime_package));
        }
    }
}
