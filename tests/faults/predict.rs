//! What `lockstep check` says of a case's tree, in its public form.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::case::{Case, Libc};
use crate::layout::whole;

/// What was predicted of one pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prediction {
    pub(crate) verdict: String,
    pub(crate) phase: String,
    pub(crate) message: Option<String>,
    /// `verdict code: subject` of each finding.
    pub(crate) findings: Vec<String>,
}

/// How long one check may take. It takes milliseconds.
const CHECK_TIMEOUT: Duration = Duration::from_secs(20);

/// The contract as a file that `--contract` takes.
fn contract(case: &Case) -> String {
    let mut keys = vec![
        ("loader", "dlopen"),
        ("abi", "c"),
        ("flags", case.flags()),
        ("scope", case.scope()),
    ];
    if case.contract.get("loader").is_some_and(|loader| loader == "go") {
        keys.retain(|(key, _)| !["flags", "scope", "abi"].contains(key));
    }
    keys.retain(|(key, _)| !case.contract.contains_key(*key));
    keys.extend(case.contract.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    let mut text: String = keys.iter().map(|(key, value)| format!("{key}: {value}\n")).collect();
    text.push_str(&format!("symbols: [{}]\n", case.calls().join(", ")));
    text
}

/// Runs the program on a case's tree; a prediction for each plugin, or what went wrong.
pub(crate) fn predict(case: &Case, libc: Libc, root: &Path, scratch: &Path) -> Result<Vec<Prediction>, String> {
    let contract_file = scratch.join(format!("{}-{}.yaml", case.name, libc.word()));
    std::fs::write(&contract_file, contract(case)).unwrap();
    // Only root could give the files of a directory capabilities.
    let tar = case.has_capabilities().then(|| {
        let tar = scratch.join(format!("{}-{}.tar", case.name, libc.word()));
        std::fs::write(&tar, whole(root).unwrap()).unwrap();
        tar
    });
    let top = if tar.is_some() { Path::new("/") } else { root };
    let in_root = |path: &str| match path.strip_prefix('/') {
        Some(path) => top.join(path),
        None => top.join(case.cwd().trim_start_matches('/')).join(path),
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
    command
        .arg("check")
        .arg(in_root(case.host.start.as_deref().unwrap_or(case.host_path())));
    command.args(case.plugin_paths().iter().map(|path| in_root(&Case::fill(path, libc))));
    command
        .arg("--rootfs")
        .arg(tar.as_deref().unwrap_or(root))
        .arg("--contract")
        .arg(&contract_file)
        .args(["--format", "json"]);
    command.args(["--cwd", case.cwd()]);
    command.args(["--user", &format!("{0}:{0}", case.user())]);
    if case.has_capabilities() {
        // The containers of these experiments may not gain privileges.
        command.arg("--no-new-privileges");
    }
    if !case.dropped.is_empty() {
        command.args(["--cap-drop", &case.dropped.join(",")]);
    }
    for (name, value) in &case.env {
        command.arg("--env").arg(format!("{name}={}", Case::fill(value, libc)));
    }
    let (out, err) = (
        scratch.join(format!("{}.out", case.name)),
        scratch.join(format!("{}.err", case.name)),
    );
    let mut child = command
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&out).unwrap())
        .stderr(std::fs::File::create(&err).unwrap())
        .spawn()
        .unwrap();
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > CHECK_TIMEOUT {
            child.kill().unwrap();
            child.wait().unwrap();
            return Err(format!("the check did not end in {CHECK_TIMEOUT:?}"));
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let (out, err) = (
        std::fs::read_to_string(out).unwrap(),
        std::fs::read_to_string(err).unwrap(),
    );
    if !matches!(status.code(), Some(0 | 1)) {
        return Err(format!("the check ended with {status}: {err}"));
    }
    let report: Value = serde_json::from_str(&out).map_err(|error| format!("no JSON: {error}: {out}{err}"))?;
    let pairs = report["pairs"].as_array().ok_or("no `pairs`")?;
    if pairs.len() != case.plugin_paths().len() {
        return Err(format!(
            "{} pairs for {} plugins",
            pairs.len(),
            case.plugin_paths().len()
        ));
    }
    Ok(pairs.iter().map(pair).collect())
}

fn pair(pair: &Value) -> Prediction {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let findings = pair["findings"].as_array().into_iter().flatten();
    Prediction {
        verdict: text(&pair["verdict"]),
        phase: text(&pair["predicted"]["phase"]),
        message: pair["predicted"]["message"].as_str().map(str::to_owned),
        findings: findings
            .map(|finding| {
                format!(
                    "{} {}: {}",
                    text(&finding["verdict"]),
                    text(&finding["code"]),
                    text(&finding["subject"])
                )
            })
            .collect(),
    }
}
