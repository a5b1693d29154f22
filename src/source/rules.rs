//! Files of ignore rules, looked at before a walk reads them: it reads each to its end, and keeps every rule as a pattern.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::regular_file;

/// The largest file of ignore rules; generated ones have some ten thousand bytes.
const IGNORE_FILE_LIMIT_BYTES: u64 = 1024 * 1024;
/// How many rules a whole tree may have: a rule takes some five kilobytes, and those of all directories above count at
/// once. Linux has about a thousand, in all of its directories.
const RULES_LIMIT_COUNT: u64 = 30_000;

/// What a walk may still read.
#[derive(Debug)]
pub(crate) struct RuleBudget {
    left: AtomicU64,
}

impl Default for RuleBudget {
    fn default() -> Self {
        Self {
            left: RULES_LIMIT_COUNT.into(),
        }
    }
}

impl RuleBudget {
    /// Reads the files of rules that a walk will read in `directory`.
    ///
    /// # Errors
    /// The first that cannot be read, is too large or has too many rules, and why.
    pub(crate) fn check(&self, directory: &Path, names: &[&str]) -> Result<(), (PathBuf, io::Error)> {
        for name in names {
            let path = directory.join(name);
            let taken = count_rules(&path).and_then(|rules| self.take(rules));
            taken.map_err(|cause| (path, cause))?;
        }
        Ok(())
    }

    /// Takes so many rules.
    ///
    /// # Errors
    /// When there are not as many left.
    pub(super) fn take(&self, rules: u64) -> io::Result<()> {
        let take = |left: u64| left.checked_sub(rules);
        let taken = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken
            .map(|_| ())
            .map_err(|_| io::Error::other(format!("with it there are more than {RULES_LIMIT_COUNT} rules")))
    }
}

/// How many rules a file has: none where there is no such file.
///
/// # Errors
/// When it cannot be read, or is too large.
pub(super) fn count_rules(path: &Path) -> io::Result<u64> {
    match regular_file::read(path, IGNORE_FILE_LIMIT_BYTES) {
        Ok(text) => Ok(text.split(|byte| *byte == b'\n').filter(|line| is_rule(line)).count() as u64),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

fn is_rule(line: &[u8]) -> bool {
    !line.trim_ascii().is_empty() && !line.starts_with(b"#")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_rules_of_a_tree_count_together() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(".gitignore");
        let budget = RuleBudget::default();
        std::fs::write(&file, "# a comment\n\n  \n*.o\n".repeat(20_000)).unwrap();
        assert!(budget.check(directory.path(), &[".gitignore", ".absent"]).is_ok());
        let (path, error) = budget.check(directory.path(), &[".gitignore"]).unwrap_err();
        assert_eq!(
            (path, error.to_string().as_str()),
            (file, "with it there are more than 30000 rules")
        );
    }
}
