//! Watches how much a container writes to its volumes: an engine has no limit for that on a plain file system.
//!
//! A second container sees the volumes of the first, read-only, and its processes, and measures from there: what is
//! watched can neither stop it nor hide from it in directories that only their owner may read, or in files that have no
//! name any more. It is started for what runs longer than a moment.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::stream::StreamExt;
use tokio_util::sync::CancellationToken;

use super::lines::{LINE_LIMIT_BYTES, Lines};
use super::{
    ContainerId, ContainerSpec, Engine, EngineError, ImageId, Labels, MachineView, Mount, Network, OutputStream,
    ResourceLimits,
};

/// How long a container runs before it is watched: most have ended by then.
const WATCH_AFTER_MILLISECONDS: u64 = 1000;
/// How long one measurement may take. What has more files than can be counted in that time has too many.
const ROUND_TIMEOUT_SECONDS: u64 = 60;
/// What an engine keeps free for others: when a container has taken more than its limit out of sight, it is ended before
/// nobody can write any more.
const RESERVE_BYTES: u64 = 2 << 30;
/// How long a watcher that has ended is given for its container to have ended too.
const GRACE_MILLISECONDS: u64 = 2000;
/// What the watcher may use: it counts blocks, and is idle half of the time.
const WATCHER_LIMITS: ResourceLimits = ResourceLimits {
    memory_bytes: 256 << 20,
    nano_cpus: 500_000_000,
    processes: 32,
    file_bytes: None,
};
/// To look into directories that only their owner may read, and at the open files of others.
const WATCHER_CAPABILITIES: [&str; 2] = ["DAC_READ_SEARCH", "SYS_PTRACE"];

/// Measures the directories that are its arguments, for ever: free blocks of the first, used blocks of each, and those of
/// files that are open and have no name, all in KiB. With nothing but a shell, `df`, `du`, `stat`, `xargs`, `sort` and
/// `grep`, as coreutils and busybox have them.
const SCRIPT: &str = r#"device=$(stat -c %D "$1")
while :; do
  df -Pk "$1" | { read -r _; read -r _ _ _ free _; echo "free $free"; }
  for directory; do
    du -sk "$directory" 2>/dev/null | { read -r used _; echo "used $used"; }
  done
  printf '%s\n' /proc/[0-9]*/fd/* | xargs stat -L -c '%h %D %b %i' 2>/dev/null | grep "^0 $device " | sort -u | {
    sum=0
    while read -r _ _ blocks _; do sum=$((sum + blocks / 2)); done
    echo "nameless $sum"
  }
  echo round
  sleep 0.5 2>/dev/null || sleep 1
done"#;

/// How much a container may write.
#[derive(Debug, Clone)]
pub struct DiskLimit {
    /// How much its volumes may hold together, in bytes; of volumes that are not its own, how much they may grow.
    pub bytes: u64,
    /// An image with a shell and coreutils or busybox.
    pub image: ImageId,
    /// The watcher's labels.
    pub labels: Labels,
}

/// What the watcher saw that the container may not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excess {
    /// It holds more than its limit.
    TooMuch,
    /// More than its limit has vanished while it ran, and the engine's disk is nearly full.
    NearlyFull,
}

/// Watches `container`, which is running, until `ended`; gives what it exceeds, and waits for ever if that is nothing.
/// Whatever happens, the watcher is removed after `ended`, and never later than this future ends: it is to be run to its
/// end. `told` takes the reason if nothing can be watched.
pub(super) async fn watch(
    engine: &dyn Engine,
    container: &ContainerId,
    watched: &ContainerSpec,
    limit: &DiskLimit,
    ended: &CancellationToken,
    exceeded: impl FnOnce(Excess),
    told: impl FnOnce(String),
) {
    let directories = directories(watched);
    if directories.is_empty() {
        return;
    }
    tokio::select! {
        () = tokio::time::sleep(Duration::from_millis(WATCH_AFTER_MILLISECONDS)) => {}
        () = ended.cancelled() => return,
    }
    // Not cancellable: a container whose creation is not waited for could not be removed.
    let watcher = engine
        .create_container(&spec(container, watched, limit, &directories))
        .await;
    let seen = match &watcher {
        Err(error) => Err(error.clone()),
        Ok(watcher) => tokio::select! {
            excess = measure(engine, watcher, directories.len(), limit.bytes) => excess.map(Some),
            () = ended.cancelled() => Ok(None),
        },
    };
    match seen {
        Ok(excess) => _ = excess.map(exceeded),
        Err(error) => {
            // The end of a container is that of its watcher, and may be seen a moment later.
            let grace = Duration::from_millis(GRACE_MILLISECONDS);
            if tokio::time::timeout(grace, ended.cancelled()).await.is_err() {
                told(error.to_string());
            }
        }
    }
    ended.cancelled().await;
    if let Ok(watcher) = watcher {
        // What cannot be removed now is found by its labels.
        let _ = engine.remove_container(&watcher).await;
    }
}

/// Starts the watcher, and reads what it says until there is too much.
async fn measure(
    engine: &dyn Engine,
    watcher: &ContainerId,
    directories: usize,
    limit_bytes: u64,
) -> Result<Excess, EngineError> {
    let mut pieces = engine.logs(watcher).await?;
    engine.start(watcher).await?;
    let mut lines = Lines::new(LINE_LIMIT_BYTES);
    let mut rounds = Rounds::new(directories, limit_bytes);
    let mut words = String::new();
    let failed = |cause: &str| EngineError::Failed {
        action: "watch the disk".to_owned(),
        cause: cause.trim().to_owned(),
    };
    let round_limit = Duration::from_secs(ROUND_TIMEOUT_SECONDS);
    loop {
        // Each round says something; a watcher that is silent for so long counts files without end.
        let piece = match tokio::time::timeout(round_limit, pieces.next()).await {
            Err(_) => return Ok(Excess::TooMuch),
            Ok(None) => return Err(failed(&words)),
            Ok(Some(piece)) => piece?,
        };
        let mut excess = None;
        lines.push(&piece.1, |line| match piece.0 {
            OutputStream::Stdout => excess = excess.or(rounds.take(line)),
            OutputStream::Stderr if words.is_empty() => words = line.to_owned(),
            OutputStream::Stderr => {}
        });
        if let Some(excess) = excess {
            return Ok(excess);
        }
        if rounds.is_blind() {
            return Err(failed(&words));
        }
    }
}

/// The container's own volume first, then the others that it can write to.
fn directories(watched: &ContainerSpec) -> Vec<String> {
    let own = watched.mounts.iter().filter_map(|mount| match mount {
        Mount::Anonymous { path, .. } => Some(path.clone()),
        _ => None,
    });
    let others = watched.mounts.iter().filter_map(|mount| match mount {
        Mount::Volume {
            path, read_only: false, ..
        } => Some(path.clone()),
        _ => None,
    });
    let own: Vec<String> = own.take(1).collect();
    if own.is_empty() {
        return own;
    }
    own.into_iter().chain(others).collect()
}

fn spec(container: &ContainerId, watched: &ContainerSpec, limit: &DiskLimit, directories: &[String]) -> ContainerSpec {
    let mut command = ["sh", "-c", SCRIPT, "sh"].map(str::to_owned).to_vec();
    command.extend(directories.iter().cloned());
    ContainerSpec {
        name: format!("{}-watch", watched.name),
        image: limit.image.clone(),
        command,
        environment: BTreeMap::from([("LC_ALL".to_owned(), "C".to_owned())]),
        working_directory: "/".to_owned(),
        user: "0:0".to_owned(),
        labels: limit.labels.clone(),
        network: Network::None,
        mounts: vec![],
        limits: WATCHER_LIMITS,
        read_only_root: true,
        init: false,
        tied: false,
        capabilities: WATCHER_CAPABILITIES.map(str::to_owned).to_vec(),
        sees_interfaces: false,
        beside: Some(container.clone()),
        machine: MachineView::default(),
    }
}

/// The measurements of a watcher, line by line.
#[derive(Debug)]
struct Rounds {
    limit_bytes: u64,
    directories: usize,
    /// The used KiB of each directory in this round.
    used: Vec<Option<u64>>,
    nameless: u64,
    free: Option<u64>,
    /// What the other volumes held when they were first seen, and what was free then.
    before: Option<(Vec<u64>, Option<u64>)>,
    is_blind: bool,
}

impl Rounds {
    fn new(directories: usize, limit_bytes: u64) -> Self {
        Self {
            limit_bytes,
            directories,
            used: vec![],
            nameless: 0,
            free: None,
            before: None,
            is_blind: false,
        }
    }

    /// Whether a round has told nothing.
    fn is_blind(&self) -> bool {
        self.is_blind
    }

    fn take(&mut self, line: &str) -> Option<Excess> {
        let (word, number) = line.split_once(' ').unwrap_or((line, ""));
        let number = number.parse::<u64>().ok();
        match word {
            "free" => self.free = number,
            "used" => self.used.push(number),
            "nameless" => self.nameless = number.unwrap_or(0),
            "round" => return self.judge(),
            _ => {}
        }
        None
    }

    fn judge(&mut self) -> Option<Excess> {
        let used: Option<Vec<u64>> = std::mem::take(&mut self.used).into_iter().collect();
        let Some(used) = used.filter(|used| used.len() == self.directories) else {
            self.is_blind = true;
            return None;
        };
        let (before, free_before) = self.before.get_or_insert_with(|| (used[1..].to_vec(), self.free));
        // The others are mounted inside of the first.
        let others: u64 = used[1..].iter().sum();
        let grown: u64 = used[1..]
            .iter()
            .zip(before)
            .map(|(now, before)| now.saturating_sub(*before))
            .sum();
        let kibibytes = used[0].saturating_sub(others) + grown + self.nameless;
        let bytes = |kibibytes: u64| kibibytes.saturating_mul(1024);
        if bytes(kibibytes) > self.limit_bytes {
            return Some(Excess::TooMuch);
        }
        let (free, free_before) = (self.free?, (*free_before)?);
        let has_vanished = bytes(free_before.saturating_sub(free)) > self.limit_bytes;
        (has_vanished && bytes(free) < RESERVE_BYTES).then_some(Excess::NearlyFull)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEBIBYTE: u64 = 1 << 20;

    /// What a round of these numbers, in MiB, is judged to be, after the rounds before it.
    fn judge(rounds: &mut Rounds, free: u64, used: &[u64], nameless: u64) -> Option<Excess> {
        assert_eq!(rounds.take(&format!("free {}", free * 1024)), None);
        for used in used {
            assert_eq!(rounds.take(&format!("used {}", used * 1024)), None);
        }
        assert_eq!(rounds.take(&format!("nameless {}", nameless * 1024)), None);
        rounds.take("round")
    }

    #[test]
    fn what_a_container_holds_is_limited_wherever_it_is() {
        let rounds = |directories| Rounds::new(directories, 64 * MEBIBYTE);
        assert_eq!(judge(&mut rounds(1), 50_000, &[64], 0), None);
        assert_eq!(judge(&mut rounds(1), 50_000, &[65], 0), Some(Excess::TooMuch));
        assert_eq!(judge(&mut rounds(1), 50_000, &[30], 35), Some(Excess::TooMuch));
        // What a shared volume held before does not count; what is added there does.
        let mut shared = rounds(2);
        assert_eq!(judge(&mut shared, 50_000, &[500 + 10, 500], 0), None);
        assert_eq!(judge(&mut shared, 50_000, &[540 + 10, 540], 0), None);
        assert_eq!(judge(&mut shared, 50_000, &[540 + 30, 540], 0), Some(Excess::TooMuch));
    }

    #[test]
    fn what_vanishes_out_of_sight_may_not_fill_the_disk() {
        let mut rounds = Rounds::new(1, 64 * MEBIBYTE);
        assert_eq!(judge(&mut rounds, 50_000, &[1], 0), None);
        // Others write too.
        assert_eq!(judge(&mut rounds, 10_000, &[1], 0), None);
        assert_eq!(judge(&mut rounds, 2000, &[1], 0), Some(Excess::NearlyFull));
        // A disk that was nearly full before is nobody's doing.
        let mut rounds = Rounds::new(1, 64 * MEBIBYTE);
        assert_eq!(judge(&mut rounds, 100, &[1], 0), None);
        assert_eq!(judge(&mut rounds, 50, &[50], 0), None);
    }

    #[test]
    fn a_watcher_that_sees_nothing_says_so() {
        let mut rounds = Rounds::new(1, MEBIBYTE);
        rounds.take("used ");
        assert_eq!((rounds.take("round"), rounds.is_blind()), (None, true));
        let mut rounds = Rounds::new(1, MEBIBYTE);
        assert_eq!((rounds.take("round"), rounds.is_blind()), (None, true));
    }
}
