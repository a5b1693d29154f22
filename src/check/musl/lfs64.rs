//! Names that end in `64`, which musl's loader maps to the names without, by a list of its own (`get_lfs64`).
//!
//! The list is read out of the loader's bytes, since it differs between releases.

/// How the list begins in the loader's read-only data; releases before 1.2.4 have none, and define the names instead.
const FIRST: &[u8] = b"aio_cancel\0aio_error\0";
/// Names of this length and more overflow the loader's buffer in 1.2.5, which then finds nothing.
const NAME_LIMIT_BYTES: usize = 16;
/// More names than any release lists.
const NAMES_LIMIT_COUNT: usize = 1024;

/// The list out of a loader's bytes; empty where there is none.
#[must_use]
pub(super) fn list(loader: &[u8]) -> Vec<Vec<u8>> {
    let Some(start) = loader.windows(FIRST.len()).position(|window| window == FIRST) else {
        return vec![];
    };
    loader[start..]
        .split(|byte| *byte == 0)
        .take(NAMES_LIMIT_COUNT)
        .take_while(|name| !name.is_empty())
        .map(<[u8]>::to_vec)
        .collect()
}

/// The name that stands for one that ends in `64`.
#[must_use]
pub(super) fn short_name(list: &[Vec<u8>], name: &[u8]) -> Option<Vec<u8>> {
    if name == b"readdir64_r" && !list.is_empty() {
        return Some(b"readdir_r".to_vec());
    }
    let short = name.strip_suffix(b"64")?;
    (short.len() + 1 < NAME_LIMIT_BYTES && list.iter().any(|listed| listed == short)).then(|| short.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_names_that_fit_are_mapped() {
        let loader = b"x\0aio_cancel\0aio_error\0open\0posix_fallocate\0\0other\0";
        let list = list(loader);
        assert_eq!(list.len(), 4);
        assert_eq!(short_name(&list, b"open64"), Some(b"open".to_vec()));
        assert_eq!(short_name(&list, b"readdir64_r"), Some(b"readdir_r".to_vec()));
        assert_eq!(short_name(&list, b"fcntl64"), None, "it is not in the list");
        assert_eq!(
            short_name(&list, b"posix_fallocate64"),
            None,
            "the buffer is too short for it"
        );
        assert_eq!(short_name(&list, b"open"), None);
    }
}
