//! `host-version`: a module that its host refuses, since it was compiled for another one.

use crate::check::object_id::ObjectId;
use crate::check::process::Process;
use crate::check::simulation::Subject;
use crate::check::{Finding, Phase, Rule, Verdict};
use crate::facts::stamp::{Mark, Stamp, System};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "host-version",
    description: "a module says that it was compiled for another version of its host",
    explanation: "\
Some hosts write into each module what it is compiled for, from their own headers, and compare that with what they were compiled with \
before they call anything else of it: nginx its version and the options that change its structures, Apache httpd the major number of \
its interface, PHP the number of its interface with threads and debugging, PostgreSQL its major version and some limits. The loader of the C \
library knows nothing of that: the module loads, and its host refuses it.

It is read from both files, and nothing is run for it: of nginx and httpd from structures that they export, of PHP and PostgreSQL from \
constants. Where a file does not tell, nothing is said.

Compile the module with the headers of just that host: `build: {extends: runtime, packages: […]}` takes both from one release, \
and says where a -dev package is not of the version of what runs.",
};

/// What a host compares of each module, read once.
pub struct HostStamp {
    system: &'static System,
    marks: Vec<Mark>,
}

impl HostStamp {
    /// None for a host that compares nothing, or does not tell with what. Its core may be in a library.
    pub(in crate::check) fn read(process: &Process<'_>) -> Option<Self> {
        let of_start = process.objects.iter().filter(|object| object.is_startup());
        let (system, elf) = of_start
            .map(|object| &object.elf)
            .find_map(|elf| Some((System::of(elf)?, elf)))?;
        let marks = system.marks(elf)?;
        Some(Self { system, marks })
    }

    /// Says of the first module in a file whose stamp is not the host's what differs, in the host's own words.
    pub(in crate::check) fn compare(
        &self,
        process: &Process<'_>,
        host: &Subject,
        (plugin, object): (&Subject, ObjectId),
    ) -> Option<Finding> {
        let modules = self.system.modules(&process.object(object).elf);
        modules
            .iter()
            .find_map(|module| self.differs(&host.shown, &plugin.shown, module))
    }

    fn differs(&self, host: &str, plugin: &str, module: &Stamp) -> Option<Finding> {
        let mut pairs = module.marks.iter().zip(&self.marks);
        let (theirs, own) = pairs.find(|(theirs, own)| theirs.value != own.value)?;
        let title = format!("`{plugin}` was compiled for another {} than `{host}`", self.system.name);
        let words = words(theirs, own, plugin, module.module.as_deref());
        let finding = Finding::new(RULE.code, Verdict::Refuse, own.name, title)
            .evidence(format!("{} of `{plugin}`: {}", theirs.name, theirs.value))
            .evidence(format!("{} of `{host}`: {}", own.name, own.value))
            .hint(
                "compile it with the headers of the host that runs: \
                 `build: {extends: runtime, …}` takes them from the same release",
            );
        Some(finding.predicted(Phase::Call, Some(words)))
    }
}

/// What the host says.
fn words(theirs: &Mark, own: &Mark, plugin: &str, module: Option<&str>) -> String {
    let (theirs, own, name) = (&theirs.value, &own.value, own.name);
    match name {
        "nginx_version" => format!("module \"{plugin}\" version {theirs} instead of {own}"),
        "NGX_MODULE_SIGNATURE" => format!("module \"{plugin}\" is not binary compatible"),
        "MODULE_MAGIC_COOKIE" => format!("expected signature {own} but saw {theirs}"),
        "MODULE_MAGIC_NUMBER_MAJOR" => {
            let module = module.unwrap_or(plugin);
            format!("Module \"{module}\" is not compatible with this version of Apache (found {theirs}, need {own})")
        }
        "ZEND_MODULE_API_NO" => format!("Module compiled with module API={theirs}, PHP compiled with module API={own}"),
        "ZEND_MODULE_BUILD_ID" => format!("Module compiled with build ID={theirs}, PHP compiled with build ID={own}"),
        "PG_VERSION_NUM / 100" => {
            let (server, library) = (pg_version(own), pg_version(theirs));
            format!(
                "incompatible library \"{plugin}\": version mismatch: Server is version {server}, library is version {library}"
            )
        }
        _ => format!(
            "incompatible library \"{plugin}\": magic block mismatch: Server has {name} = {own}, library has {theirs}"
        ),
    }
}

/// `1700` is 17, and `906` is 9.6.
fn pg_version(number: &str) -> String {
    match number.parse::<u32>() {
        Ok(number) if number >= 1000 => (number / 100).to_string(),
        Ok(number) => format!("{}.{}", number / 100, number % 100),
        Err(_) => number.to_owned(),
    }
}
