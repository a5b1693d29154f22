//! A module for Python, in Rust.

use pyo3::prelude::*;

/// Greets somebody.
#[pyfunction]
fn greet(name: &str) -> String {
    format!("Hello, {name}!")
}

/// What `import greet` gives.
#[pymodule(name = "greet")]
fn contents(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(greet, module)?)
}
