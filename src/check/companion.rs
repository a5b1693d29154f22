//! What lies beside a host or a plugin and can be loaded or started: libraries and programs.

use super::environment::OpenMode;
use super::finding::Finding;
use super::pair_report::{PairReport, fold, report};
use super::process::Process;
use super::request::Request;
use super::rules;
use super::secure::Supposed;
use super::simulation::{Simulation, Subject, open};
use crate::facts::elf::{Dynamic, Elf, ObjectKind, Unreadable};

/// Which plugin brings it: none of those that there are.
const PLACE: usize = usize::MAX;

/// What a file is to a loader.
enum Use {
    /// It is opened in the host.
    Library,
    /// It is started.
    Program,
}

/// What is to be expected of a file: of a library what comes of opening it in `process` in its present state, in which it does
/// not stay; of a program what comes of starting it. None for what no loader is ever given: data, object files, what debuggers
/// read.
pub(super) fn look_at(
    request: &Request<'_>,
    process: Option<&mut Process<'_>>,
    mode: OpenMode,
    subject: &Subject,
) -> Option<PairReport> {
    let found = request.root.look(&subject.path).ok()?;
    let object = request.root.object(&found)?;
    let findings = match use_of(&object)? {
        Use::Program => start(request, subject),
        Use::Library => opened(process?, mode, subject),
    };
    Some(PairReport {
        is_companion: true,
        ..report(&request.host, subject, findings)
    })
}

fn use_of(object: &Result<std::sync::Arc<Elf>, Unreadable>) -> Option<Use> {
    let elf = match object {
        Ok(elf) => elf,
        Err(Unreadable::Magic { .. } | Unreadable::TooShort { .. }) => return None,
        Err(_) => return Some(Use::Library),
    };
    let dynamic = elf.dynamic.as_ref();
    match elf.header.kind {
        ObjectKind::Executable => Some(Use::Program),
        ObjectKind::Shared if dynamic.is_some_and(Dynamic::is_program) => Some(Use::Program),
        // Without a dynamic section it is what was split off for a debugger.
        ObjectKind::Shared => dynamic.map(|_| Use::Library),
        ObjectKind::Relocatable | ObjectKind::Other(_) => None,
    }
}

fn start(request: &Request<'_>, program: &Subject) -> Vec<Finding> {
    let simulation = Simulation::start(
        request.root,
        program,
        (request.environment, Supposed::Entitled),
        request.is_root_known,
    );
    let faults = simulation.start.iter();
    let findings = faults.map(|fault| rules::of_fault(fault, simulation.process.as_ref()));
    findings.collect()
}

fn opened(process: &mut Process<'_>, mode: OpenMode, library: &Subject) -> Vec<Finding> {
    let opened = open(process, library, PLACE, mode);
    let mut findings: Vec<Finding> = rules::of_faults(&opened.faults, process).into_iter().collect();
    for (order, finding) in findings.iter_mut().enumerate() {
        finding.order = order;
    }
    fold(process, &mut findings);
    process.restore(opened.before);
    findings
}
