//! What recipes are called where people read it.

use crate::config::RecipeReference;

/// What a recipe is called where people read it.
pub(in crate::run) fn name_of(recipe: &RecipeReference) -> String {
    match recipe {
        RecipeReference::File { path } => path.clone(),
        RecipeReference::Builtin { name } => format!("builtin {name}"),
        RecipeReference::Dockerfile {
            path,
            target: Some(target),
            ..
        } => format!("{path} ({target})"),
        RecipeReference::Dockerfile { path, target: None, .. } => path.clone(),
        RecipeReference::Image { reference } => reference.clone(),
        RecipeReference::Extended { runtime, packages } => format!("{} with {}", name_of(runtime), packages.join(", ")),
    }
}
