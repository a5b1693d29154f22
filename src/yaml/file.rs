//! The files that hold the documents.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::problem::Problem;

use super::TEXT_LIMIT_BYTES;

/// The content of a file, or of its first part when it is too large to be a document, which [`super::read`] then says.
///
/// # Errors
/// When it cannot be read; `shown` is how the file is called then.
pub fn read_file(code: &'static str, path: &Path, shown: &str, hint: &str) -> Result<Vec<u8>, Box<Problem>> {
    let read = || -> Result<Vec<u8>, String> {
        let kind = std::fs::metadata(path).map_err(cause)?.file_type();
        // Opening a named pipe would wait for someone to write to it.
        if !kind.is_file() {
            return Err(if kind.is_dir() {
                "it is a directory"
            } else {
                "it is no plain file"
            }
            .to_owned());
        }
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(cause)?;
        file.take(TEXT_LIMIT_BYTES as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(cause)?;
        Ok(bytes)
    };
    read().map_err(|cause| {
        Box::new(Problem::of_file(
            code,
            shown,
            format!("failed to read `{shown}`: {cause}"),
            hint,
        ))
    })
}

fn cause(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}
