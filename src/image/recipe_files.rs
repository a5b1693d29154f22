//! Where recipes come from.

/// Where recipes and the files that they name are read from.
pub trait RecipeFiles {
    /// The content of a file by its `/`-separated path.
    ///
    /// # Errors
    /// Why it cannot be read, in words.
    fn read(&self, path: &str) -> Result<Vec<u8>, String>;
}
