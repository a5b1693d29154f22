//! Will a plugin load in a host, and if it does, is it safe? Facts in, findings out: nothing here opens a file.
//!
//! A process is simulated from its start (`simulation`), by the rules of the loader that the host names (`glibc`, `musl`). What
//! the loader meets (`fault`) and what the files say of each other become findings (`rules`); all of them are told, the root
//! first, whatever the loader would have stopped at.

mod binding;
mod companion;
mod environment;
mod fault;
mod finding;
mod glibc;
mod language;
mod libc_names;
mod likeness;
mod lookup;
mod machine;
mod musl;
mod object_id;
mod packaged;
mod pair;
mod pair_report;
mod paths;
mod platform;
mod process;
mod request;
mod rule;
pub mod rules;
mod search;
mod secure;
mod shadow;
mod simulation;
mod tls;
mod truncation;
mod user;
mod verdict;

pub use environment::{BindingTime, Environment, OpenMode, Restrictions, ScopeFlag};
pub use finding::{Cause, Finding};
pub(crate) use machine::name as machine_name;
pub(crate) use packaged::package_of;
pub use pair::check;
pub use pair_report::{PairReport, predict};
pub(crate) use paths::SystemPaths;
pub use platform::Family;
pub use request::{Plugin, Request};
pub use rule::Rule;
pub(crate) use rules::readable_symbol;
pub use rules::{RULES, rule};
pub use secure::may_give_rights;
pub use simulation::Subject;
pub(crate) use user::accounts_text;
pub use user::{User, UserError};
pub use verdict::{Phase, Predicted, Verdict};
