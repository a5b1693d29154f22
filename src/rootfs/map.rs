//! Files of any size as bytes, without reading them: the only place that maps memory.

use std::fs::File;
use std::io;

use bytes::Bytes;
use memmap2::MmapOptions;

/// A file's bytes, which are read when they are looked at.
///
/// # Errors
/// When the file cannot be mapped, as a directory or a device.
#[expect(
    unsafe_code,
    reason = "mapping a file is the only way to look at a part of it as bytes"
)]
pub(super) fn map_file(file: &File) -> io::Result<Bytes> {
    let len = file.metadata()?.len();
    // A map of nothing is an error of its own.
    if len == 0 {
        return Ok(Bytes::new());
    }
    let len = usize::try_from(len).map_err(io::Error::other)?;
    // SAFETY: the map is private and only read, and nothing of lockstep writes to a file that it maps. Another process can:
    // then other bytes are seen, and everything that reads them checks each bound against the map's length, which stays.
    // If the file is made shorter meanwhile, a look behind its new end raises SIGBUS, which ends this process: no wrong
    // memory is read.
    let map = unsafe { MmapOptions::new().len(len).map(file) }?;
    Ok(Bytes::from_owner(map))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_map_has_the_bytes_of_its_file() {
        let mut file = tempfile::tempfile().unwrap();
        assert!(map_file(&file).unwrap().is_empty());
        file.write_all(b"content").unwrap();
        assert_eq!(map_file(&file).unwrap(), "content");
        assert!(map_file(&File::open("/").unwrap()).is_err());
    }
}
