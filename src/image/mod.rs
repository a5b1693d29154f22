//! Images that lockstep makes itself, from a distribution's packages: recipe in, layers and config out.
//!
//! What comes out depends on the recipe and its packages alone: made twice, on whatever machine, it is the same image
//! ID. [`LocalImage`]s live in the user's cache and are handed to an engine by [`ImageArchive`].

mod again;
mod apt;
mod archive;
mod assemble;
mod bootstrap;
mod builtin;
mod cache;
mod child;
mod config;
mod dockerfile;
mod entry;
mod error;
mod form;
mod gather;
mod hashed_read;
mod kept_repository;
mod machine;
mod make;
mod mirror;
mod normal;
mod package_archive;
mod package_list;
pub mod packages;
mod path;
mod path_patterns;
mod provide;
mod read;
mod recipe;
mod recipe_file;
mod recipe_files;
mod same_source;
mod saved;
mod tree;
mod tried;
mod whiteout;
mod work;
mod write;

pub use again::{LockedImage, make_again};
pub use archive::ImageArchive;
pub use builtin::{Builtin, BuiltinDockerfile};
pub use cache::{ImageCache, LocalImage, LocalLayer};
pub use child::ChildError;
pub use config::{ConfigChanges, ImageConfig, stacked_config, timestamp};
pub use dockerfile::base_of;
pub use entry::{Entry, EntryKind, clean_path, compare_paths, split_path};
pub use error::{ImageError, LayerError};
pub use form::{Form, SNIFFED_BYTES};
pub use gather::{Gathering, KeptPackage, keep_in_directory};
pub use machine::Machine;
pub use make::{MakeRequest, image_config, image_key, make};
pub use mirror::{Mirrors, Source, debian_mirrors, read_sources};
pub use normal::{NormalRequest, normal_key, normalise};
pub use package_archive::PackageArchive;
pub use package_list::{PACKAGES_LABEL, labelled_packages};
pub use provide::{IMAGE_REPOSITORY, image_name, image_tag, provide};
pub use read::{read_tar, read_tar_in_place};
pub use recipe::{Distribution, Ground, ImageDefaults, OwnFile, Recipe, Variant};
pub use recipe_files::RecipeFiles;
pub use saved::{DOCUMENT_LIMIT_BYTES, Documents, ImageParts, NewFile, SavedError, SavedImage, image_parts, spool};
pub use tree::{Change, Node, Tree};
pub use tried::Tried;
pub use whiteout::{OPAQUE_WHITEOUT, WHITEOUT_PREFIX};
pub use write::LayerWriter;
