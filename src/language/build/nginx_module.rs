//! nginx's dynamic modules: a directory with a `config`, compiled by the sources of the nginx that loads it.

use super::{BUILD_ROOT, JOBS, System, lacks, words};
use crate::config::{Build, Unit};

pub(super) const NGINX_MODULE: System = System {
    programs: &[("bash", "bash"), ("make", "make")],
    make,
    trees: &[BUILD_ROOT],
};

/// Where Debian's nginx-dev has the sources, and `conf_flags`: what nginx itself was configured with, as a list of bash's. With
/// other flags than its host's, a module is refused.
const NGINX_ROOT: &str = "/usr/share/nginx/src";

fn make(_: &Unit, build: &Build) -> String {
    format!(
        r#"if ! [ -f {NGINX_ROOT}/conf_flags ]; then
{lacks}
fi
module=$PWD
cd {NGINX_ROOT}
bash -eu -c '. ./conf_flags
exec ./configure --with-cc-opt="$CFLAGS -fPIC" --with-ld-opt="$LDFLAGS" "${{NGX_CONF_FLAGS[@]}}" --builddir={BUILD_ROOT} "$@"' \
  configure --add-dynamic-module="$module"{options}
make -f {BUILD_ROOT}/Makefile {JOBS} modules"#,
        lacks = lacks("nginx-module", "sources of nginx", "the package nginx-dev (of Debian)"),
        options = words(&build.options),
    )
}
