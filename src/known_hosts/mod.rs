//! Hosts that are packaged, and how their plugins are recognised, made and opened: what `init` proposes for them.
//!
//! A host is one file and one line in [`KNOWN_HOSTS`]. All of it is pure: texts of sources in, names and words out. Packages and
//! paths are those of [`SUITE`].

mod beside;
mod cpython;
mod gcc;
mod httpd;
mod libraries;
mod lua;
mod lv2;
mod makefile;
mod nginx;
mod nss;
mod pam;
mod php;
mod postgres;
mod programs;
mod smoke;
mod source_text;
mod sqlite;
mod turtle;
mod valkey;

use crate::config::{BuildSystem, LanguageName};

pub use beside::{Beside, FileBeside, Files, PluginSource};
pub use libraries::{Library, named as libraries};
pub(crate) use makefile::{MAKEFILES, Makefile, words};
pub use programs::programs;
pub use smoke::{SmokeFile, SmokeKind, SmokeStep, SmokeTest};
pub(crate) use source_text::closing;

use beside::nothing_beside;

/// The release of Debian whose packages and paths these are.
pub const SUITE: &str = "trixie";

/// The table of known hosts, in the order in which a tree is asked for them: those with a build of their own first.
pub const KNOWN_HOSTS: &[&KnownHost] = &[
    &nginx::NGINX,
    &postgres::POSTGRES,
    &php::PHP,
    &cpython::CPYTHON,
    &httpd::HTTPD,
    &valkey::VALKEY,
    &lua::LUA,
    &sqlite::SQLITE,
    &gcc::GCC,
    &pam::PAM,
    &nss::NSS,
    &lv2::LV2,
];

/// [`KnownHost::systems`] where a makefile is mostly what another system has made.
const GENERATED_FIRST: &[BuildSystem] = &[
    BuildSystem::Meson,
    BuildSystem::Cmake,
    BuildSystem::Autotools,
    BuildSystem::Make,
];
/// [`KnownHost::systems`] where a makefile is mostly the plugin's own.
const MAKEFILE_FIRST: &[BuildSystem] = &[
    BuildSystem::Make,
    BuildSystem::Cmake,
    BuildSystem::Meson,
    BuildSystem::Autotools,
];

/// A host of the distribution.
pub struct KnownHost {
    /// What it is called here, as an environment and a recipe, too.
    pub name: &'static str,
    /// What else it is called.
    pub other_names: &'static [&'static str],
    /// Where the program is in the runtime image; absolute.
    pub path: &'static str,
    /// Where it looks for plugins, if it is in one place; absolute.
    pub install: Option<&'static str>,
    /// What the runtime image has, beside its skeleton.
    pub runtime_packages: &'static [&'static str],
    /// What compiling needs on top of that.
    pub build_packages: &'static [&'static str],
    /// Directories of its programs that are not in every `PATH`.
    pub program_directory: Option<&'static str>,
    /// Links of the runtime image that the packages' scripts would make.
    pub links: &'static [(&'static str, &'static str)],
    /// Files of the runtime image that its smoke test or its plugins need: path and content.
    pub files: &'static [(&'static str, &'static str)],
    /// Words, such as names of headers, that sources of its plugins have.
    pub words: &'static [&'static str],
    /// Whether an entry without one of the words may be something else.
    pub needs_words: bool,
    /// Crates that make a library in Rust its plugin.
    pub crates: &'static [&'static str],
    /// The build that its plugins have, told by a file of theirs.
    pub own_build: Option<OwnBuild>,
    /// The build systems by which its plugins are made, whose files are looked at in this order.
    pub systems: &'static [BuildSystem],
    /// The system that needs no file of the plugin's; without one, the language's own command is used.
    pub fallback: Option<BuildSystem>,
    /// What it looks up in every plugin.
    pub symbols: &'static [&'static str],
    /// What it looks up that a source defines.
    pub entries: fn(&str) -> Vec<String>,
    /// The file that an entry is looked up in, where its name follows from that.
    pub artifact: fn(&str) -> Option<String>,
    /// What its plugins are compiled as when their sources are C.
    pub language: LanguageName,
    /// Variables for their build.
    pub env: &'static [(&'static str, &'static str)],
    /// What goes with a plugin, beside its library.
    pub beside: fn(&PluginSource<'_>) -> Beside,
    /// What ends well only if the host opened its plugins; none when that cannot be seen.
    pub smoke: fn(&[SmokePlugin<'_>]) -> Option<SmokeTest>,
    /// What it looks for in place of the name that cargo gives to a plugin, where that is another.
    pub cargo_place: fn(&str) -> Option<String>,
    /// What must be known of its plugins, as one line.
    pub note: Option<&'static str>,
}

/// A build that is the host's own.
pub struct OwnBuild {
    /// What lockstep calls.
    pub system: BuildSystem,
    /// The plugins that a file, by its name and its text, says it makes; none when it is no such file.
    /// The files are those of its directory.
    pub made: fn(&str, &str, &dyn Files) -> Vec<Made>,
}

/// A plugin that a build file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// What it is called.
    pub name: String,
    /// The file.
    pub artifact: String,
}

/// What a smoke test knows of a plugin.
#[derive(Debug, Clone, Copy)]
pub struct SmokePlugin<'a> {
    /// Its file.
    pub artifact: &'a str,
    /// What the host looks up in it.
    pub entries: &'a [String],
    /// What goes with it.
    pub beside: &'a Beside,
}

impl SmokePlugin<'_> {
    /// The file's name up to its first dot.
    #[must_use]
    pub fn stem(&self) -> &str {
        file_stem(self.artifact)
    }
}

/// The known host of this name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static KnownHost> {
    let is_it = |host: &&&KnownHost| host.name == name || host.other_names.contains(&name);
    KNOWN_HOSTS.iter().find(is_it).copied()
}

impl PartialEq for KnownHost {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for KnownHost {}

impl std::fmt::Debug for KnownHost {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name)
    }
}

/// A file's name up to its first dot.
fn file_stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.split('.').next().unwrap_or_default()
}

/// Whether a name means nothing to whom it is told: a shell, a host's configuration, a query.
fn is_word(name: &str) -> bool {
    /// Longer names are none.
    const LENGTH_LIMIT_BYTES: usize = 200;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-~".contains(&byte);
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_');
    starts_well && name.len() <= LENGTH_LIMIT_BYTES && name.bytes().all(is_plain)
}

/// Of a host that finds its plugins by files of their build alone.
fn no_entries(_: &str) -> Vec<String> {
    vec![]
}

/// Of a host that takes the names of files as they are.
fn same_name(_: &str) -> Option<String> {
    None
}

/// Of a host that is told which file to open.
fn any_artifact(_: &str) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::image::packages::is_requested_package;
    use crate::name::EnvironmentName;

    #[test]
    fn every_host_is_well_formed_and_found_by_its_names() {
        let mut names = BTreeSet::new();
        for host in KNOWN_HOSTS {
            assert!(EnvironmentName::new(host.name).is_ok(), "{host:?}");
            for name in host.other_names.iter().chain([&host.name]) {
                assert!(names.insert(*name), "{name} is there twice");
                assert_eq!(by_name(name), Some(*host));
            }
            assert!(host.path.starts_with('/') && host.install.is_none_or(|path| path.starts_with('/')));
            let packages = host.runtime_packages.iter().chain(host.build_packages);
            assert!(packages.clone().all(|name| is_requested_package(name)), "{host:?}");
            assert!(
                host.own_build.is_some() || !host.words.is_empty(),
                "{host:?} cannot be seen"
            );
        }
    }

    /// What names a plugin of each host, and what comes of it.
    #[test]
    fn sources_and_build_files_tell_the_host() {
        for (name, file, text, expected) in [
            (
                "nginx",
                "config",
                "ngx_addon_name=ngx_http_echo_module\nngx_module_name=$ngx_addon_name\n. auto/module\n",
                "ngx_http_echo_module.so",
            ),
            (
                "nginx",
                "config",
                "HTTP_MODULES=\"$HTTP_MODULES x\"\nngx_module_name=\"ngx_http_x_module ngx_http_y_module\"",
                "ngx_http_x_module.so",
            ),
            (
                "postgres",
                "Makefile",
                "EXTENSION = vector\nMODULE_big = $(EXTENSION)\nPGXS := $(shell $(PG_CONFIG) --pgxs)\n",
                "vector.so",
            ),
            ("postgres", "Makefile", "MODULES = a b\nUSE_PGXS=1\n", "a.so b.so"),
            (
                "php",
                "config.m4",
                "PHP_NEW_EXTENSION([apcu], [a.c b.c], $ext_shared)\n",
                "apcu.so",
            ),
            (
                "cpython",
                "setup.py",
                "Extension(\n  name='pkg._x',\n  sources=[])",
                "_x.cpython-313-x86_64-linux-gnu.so",
            ),
        ] {
            let made = (by_name(name).unwrap().own_build.as_ref().unwrap().made)(file, text, &beside::Listed(&[]));
            let artifacts: Vec<&str> = made.iter().map(|made| made.artifact.as_str()).collect();
            assert_eq!(artifacts.join(" "), expected, "{name}");
        }
        for (name, text, entries, artifact) in [
            (
                "lua",
                "int luaopen_cjson_safe(lua_State *l)\n{\n}\nint luaopen_cjson(lua_State *l) {\n}\nint luaopen_no(lua_State *l);",
                "luaopen_cjson_safe luaopen_cjson",
                Some("cjson.so"),
            ),
            (
                "httpd",
                "module AP_MODULE_DECLARE_DATA evasive20_module =\n{",
                "evasive20_module",
                None,
            ),
            ("httpd", "AP_DECLARE_MODULE(x) = {", "x_module", None),
            (
                "valkey",
                "int RedisModule_OnLoad(RedisModuleCtx *c, RedisModuleString **v, int n) {",
                "RedisModule_OnLoad",
                None,
            ),
            (
                "sqlite",
                "int sqlite3_vec_init(sqlite3 *db, char **e, const sqlite3_api_routines *p)\n{",
                "sqlite3_vec_init",
                None,
            ),
            (
                "pam",
                "PAM_EXTERN int\npam_sm_setcred (pam_handle_t *h, int f, int c, const char **v)\n{",
                "pam_sm_setcred",
                None,
            ),
            (
                "nss",
                "enum nss_status _nss_docker_gethostbyname_r(const char *n) {",
                "_nss_docker_gethostbyname_r",
                Some("libnss_docker.so.2"),
            ),
            (
                "gcc",
                "int plugin_init(struct plugin_name_args *p, struct plugin_gcc_version *v) {",
                "plugin_init",
                None,
            ),
            (
                "lv2",
                "const LV2_Descriptor *\nlv2_descriptor(uint32_t index)\n{",
                "lv2_descriptor",
                None,
            ),
            (
                "cpython",
                "PyMODINIT_FUNC\nPyInit__x(void) {",
                "PyInit__x",
                Some("_x.so"),
            ),
        ] {
            let host = by_name(name).unwrap();
            let found = (host.entries)(text);
            assert_eq!(found.join(" "), entries, "{name}");
            let last = found.last().map(String::as_str).unwrap_or_default();
            assert_eq!((host.artifact)(last).as_deref(), artifact, "{name}");
        }
    }
}
