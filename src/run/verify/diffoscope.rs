//! Pages of what differs, drawn by diffoscope, which looks deeper into files than lockstep does.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::super::RunError;
use super::super::error::VerifyError;
use crate::regular_file;

const PROGRAM: &str = "diffoscope";
/// How long one page may take; it calls other programs for all that it finds.
const PAGE_TIMEOUT: Duration = Duration::from_secs(600);
/// How long it may take to say that it is there.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// What it ends with when it found a difference, and drew it (diffoscope(1), "Exit status").
const FOUND_STATUS: i32 = 1;

/// Draws pages of what differs.
pub(super) struct Diffoscope {
    directory: PathBuf,
    /// How many pages were begun.
    count: AtomicUsize,
}

impl Diffoscope {
    /// One that leaves its pages in `directory`, which is made if need be.
    ///
    /// # Errors
    /// When the program is not there, or the directory cannot be made.
    pub(super) async fn into(directory: &Path) -> Result<Self, RunError> {
        let mut command = Command::new(PROGRAM);
        command
            .arg("--version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let answered = tokio::time::timeout(ANSWER_TIMEOUT, command.status()).await;
        if !matches!(answered, Ok(Ok(status)) if status.success()) {
            return Err(VerifyError::NoDiffoscope.into());
        }
        regular_file::make_directory(directory).map_err(RunError::file_at("make the directory", directory))?;
        Ok(Self {
            directory: directory.to_owned(),
            count: AtomicUsize::new(0),
        })
    }

    /// Draws in what two files differ; gives the page. `subject` says of what they are.
    ///
    /// # Errors
    /// What it failed with, for people: what differs is told without it, too.
    pub(super) async fn page(
        &self,
        subject: &str,
        one: &Path,
        other: &Path,
        stop: &CancellationToken,
    ) -> Result<PathBuf, String> {
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let page = self.directory.join(format!("{number:03}-{}.html", file_name(subject)));
        let failed = |cause: String| format!("diffoscope did not draw {}: {cause}", page.display());
        let mut command = Command::new(PROGRAM);
        command
            .arg("--no-progress")
            .arg("--html")
            .arg(&page)
            .args([one, other])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let drawing = tokio::time::timeout(PAGE_TIMEOUT, command.output());
        let drawn = tokio::select! {
            drawn = drawing => drawn,
            () = stop.cancelled() => return Err(failed("it was stopped".to_owned())),
        };
        let output = match drawn {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Err(_) => return Err(failed(format!("it took more than {} s", PAGE_TIMEOUT.as_secs()))),
        };
        if output.status.code() == Some(FOUND_STATUS) && page.is_file() {
            return Ok(page);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().last().unwrap_or_default();
        Err(failed(format!("it ended with {}: {last}", output.status)))
    }
}

/// What a page is called after a subject.
fn file_name(subject: &str) -> String {
    let kept = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    let name = subject
        .chars()
        .map(|character| if kept(character) { character } else { '-' });
    name.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_called_after_what_it_is_of() {
        assert_eq!(file_name("glibc rate-limit lib/a b.so"), "glibc-rate-limit-lib-a-b.so");
        assert_eq!(file_name("../é"), "..--");
    }
}
