//! The table of variations, one file each.

mod address_layout;
mod caches;
mod directory;
mod entry_order;
mod file_system;
mod home;
mod host_name;
mod image;
mod jobs;
mod kernel;
mod locale;
mod processors;
mod source_times;
mod time_of_day;
mod time_zone;
mod umask;
mod user;
mod variables;

use super::Variation;

pub use image::IMAGE;

/// Everything that is varied, in the order in which it is told.
pub const VARIATIONS: &[&Variation] = &[
    &directory::DIRECTORY,
    &user::USER,
    &home::HOME,
    &host_name::HOST_NAME,
    &time_of_day::TIME_OF_DAY,
    &time_zone::TIME_ZONE,
    &locale::LOCALE,
    &umask::UMASK,
    &variables::VARIABLES,
    &source_times::SOURCE_TIMES,
    &entry_order::ENTRY_ORDER,
    &file_system::FILE_SYSTEM,
    &processors::PROCESSORS,
    &jobs::JOBS,
    &address_layout::ADDRESS_LAYOUT,
    &kernel::KERNEL,
    &caches::CACHES,
    &IMAGE,
];

#[cfg(test)]
mod tests {
    use super::super::Setting;
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_variation_changes_something_and_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = VARIATIONS.iter().map(|variation| variation.name).collect();
        assert_eq!(names.len(), VARIATIONS.len());
        for variation in VARIATIONS {
            assert_ne!(Setting::of(&[], &[variation]), Setting::default(), "{}", variation.name);
            assert!(!variation.description.is_empty() && !variation.description.ends_with('.'));
        }
    }
}
