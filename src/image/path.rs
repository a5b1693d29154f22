//! `/`-separated paths of recipes, as text.

/// The path leads out of the directory that all recipes are in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}`")]
pub(super) struct PathOutside {
    /// As it was given.
    pub(super) path: String,
}

/// The path of `relative` as seen from the file at `from`.
pub(super) fn join(from: &str, relative: &str) -> Result<String, PathOutside> {
    let outside = || PathOutside {
        path: relative.to_owned(),
    };
    if relative.starts_with('/') {
        return Err(outside());
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or_else(outside)?;
            }
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        return Err(outside());
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        for (from, relative, expected) in [
            ("a/b.yaml", "c", Some("a/c")),
            ("b.yaml", "c", Some("c")),
            ("a/b.yaml", "../d/./e", Some("d/e")),
            ("a/b.yaml", "../..", None),
            ("b.yaml", "../x", None),
            ("a/b.yaml", "/etc/passwd", None),
            ("b.yaml", ".", None),
        ] {
            assert_eq!(join(from, relative).ok().as_deref(), expected, "{from} {relative}");
        }
    }
}
