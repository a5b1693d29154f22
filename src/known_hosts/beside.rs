//! What goes with a plugin: the files beside its library without which the host does not find it, and what the host is
//! asked for to show that it has it.

/// The files of a directory of sources and of those below it, by paths that are relative to it.
pub trait Files {
    /// All of them in the order of their paths, with the texts of those that are read; others are empty.
    fn all(&self) -> Box<dyn Iterator<Item = (&str, &str)> + '_>;

    /// The text of one; empty when it is not read.
    fn text(&self, path: &str) -> Option<&str>;
}

/// A plugin with the sources that it is made of.
#[derive(Clone, Copy)]
pub struct PluginSource<'a> {
    /// Its file.
    pub artifact: &'a str,
    /// What the host looks up in it.
    pub entries: &'a [String],
    /// Where its build starts.
    pub files: &'a dyn Files,
}

/// What is shipped with a plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beside {
    /// Files of its sources.
    pub files: Vec<FileBeside>,
    /// Files that its build makes.
    pub made: Vec<FileBeside>,
    /// The directory of the bundle in which all of it lies.
    pub into: Option<String>,
    /// By what the host is asked for the plugin, in the host's own words.
    pub asked: Vec<String>,
    /// Whether the host must open it before it does anything else.
    pub is_early: bool,
    /// What was not understood, one line each.
    pub notes: Vec<String>,
}

/// A file beside a library.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileBeside {
    /// Its path among the sources, or the name of what is made.
    pub file: String,
    /// The directory of the image in which the host looks for it, where that is not the plugins'; absolute.
    pub install: Option<String>,
}

impl FileBeside {
    /// A file that lies where the plugin does.
    #[must_use]
    pub fn here(file: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            install: None,
        }
    }

    /// A file that is looked for elsewhere.
    #[must_use]
    pub fn installed(file: impl Into<String>, install: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            install: Some(install.into()),
        }
    }
}

/// Of a host whose plugins need nothing beside them.
pub(super) fn nothing_beside(_: &PluginSource<'_>) -> Beside {
    Beside::default()
}

/// Files from memory.
#[cfg(test)]
pub(crate) struct Listed<'a>(pub(crate) &'a [(&'a str, &'a str)]);

#[cfg(test)]
impl Files for Listed<'_> {
    fn all(&self) -> Box<dyn Iterator<Item = (&str, &str)> + '_> {
        Box::new(self.0.iter().copied())
    }

    fn text(&self, path: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| *name == path).map(|(_, text)| *text)
    }
}
