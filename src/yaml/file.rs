//! The files that hold the documents.

use std::io;
use std::path::Path;

use crate::problem::Problem;
use crate::regular_file;

use super::TEXT_LIMIT_BYTES;

/// The content of a file, or of its first part when it is too large to be a document, which [`super::read`] then says.
///
/// # Errors
/// When it cannot be read; `shown` is how the file is called then.
pub fn read_file(code: &'static str, path: &Path, shown: &str, hint: &str) -> Result<Vec<u8>, Box<Problem>> {
    regular_file::read_start(path, TEXT_LIMIT_BYTES as u64 + 1).map_err(|error| {
        let cause = cause(&error);
        Box::new(Problem::of_file(
            code,
            shown,
            format!("failed to read `{shown}`: {cause}"),
            hint,
        ))
    })
}

fn cause(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}
