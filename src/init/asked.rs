//! `--host`: a host that the user names.

use crate::known_hosts::{self, KNOWN_HOSTS, KnownHost};
use crate::nearest::nearest;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// One of the known hosts, of the distribution's package.
    Known(&'static KnownHost),
    /// A program of an image.
    Image {
        /// The image's reference.
        reference: String,
        /// Where the program is in it; absolute.
        path: String,
        /// The known host that it is, by the name of its file.
        known: Option<&'static KnownHost>,
    },
}

/// Why nothing can be done with `--host`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAsked {
    /// Neither a known host nor an image with a path.
    #[error("`{text}` is no known host, and no image with the path of a program")]
    Unknown {
        /// What was given.
        text: String,
        /// What may be meant.
        similar: Option<&'static str>,
    },
}

impl NotAsked {
    /// What to write instead.
    #[must_use]
    pub fn hint(&self) -> String {
        let Self::Unknown { similar, .. } = self;
        match similar {
            Some(name) => format!("did you mean `--host {name}`?"),
            None => {
                let names: Vec<&str> = KNOWN_HOSTS.iter().map(|host| host.name).collect();
                format!("write one of {}, or IMAGE:/path/of/the/program", names.join(", "))
            }
        }
    }
}

impl Asked {
    /// Reads `nginx`, `IMAGE:PATH`, or an IMAGE whose last part is a known host's name.
    ///
    /// # Errors
    /// See [`NotAsked`].
    pub fn parse(text: &str) -> Result<Self, NotAsked> {
        if let Some(host) = known_hosts::by_name(text) {
            return Ok(Self::Known(host));
        }
        if let Some((reference, path)) = text.rsplit_once(":/").filter(|(reference, _)| !reference.is_empty()) {
            let file = path.rsplit('/').next().unwrap_or_default();
            return Ok(Self::Image {
                reference: reference.to_owned(),
                path: format!("/{path}"),
                known: known_hosts::by_name(file).or_else(|| by_file(file)),
            });
        }
        let last = text.rsplit('/').next().unwrap_or_default();
        let repository = last.split([':', '@']).next().unwrap_or_default();
        // A name alone is no image that anybody would mean without a path.
        let is_image = text.contains(['/', ':', '@']);
        match known_hosts::by_name(repository).filter(|_| is_image) {
            Some(host) => Ok(Self::Image {
                reference: text.to_owned(),
                path: host.path.to_owned(),
                known: Some(host),
            }),
            None => {
                let names = KNOWN_HOSTS
                    .iter()
                    .flat_map(|host| host.other_names.iter().chain([&host.name]));
                Err(NotAsked::Unknown {
                    text: text.to_owned(),
                    similar: nearest(text, names.copied())
                        .and_then(known_hosts::by_name)
                        .map(|host| host.name),
                })
            }
        }
    }
}

fn by_file(file: &str) -> Option<&'static KnownHost> {
    KNOWN_HOSTS
        .iter()
        .find(|host| host.path.rsplit('/').next() == Some(file))
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_known_or_in_an_image() {
        let image = |reference: &str, path: &str, known: Option<&str>| {
            Ok(Asked::Image {
                reference: reference.to_owned(),
                path: path.to_owned(),
                known: known.and_then(known_hosts::by_name),
            })
        };
        let known = |name: &str| Ok(Asked::Known(known_hosts::by_name(name).unwrap()));
        for (text, expected) in [
            ("nginx", known("nginx")),
            ("apache2", known("httpd")),
            ("nginx:1.26", image("nginx:1.26", "/usr/sbin/nginx", Some("nginx"))),
            (
                "r.example:5000/a/x:1:/opt/x/nginx",
                image("r.example:5000/a/x:1", "/opt/x/nginx", Some("nginx")),
            ),
            ("x:/app", image("x", "/app", None)),
        ] {
            assert_eq!(Asked::parse(text), expected, "{text}");
        }
        let hint = |text: &str| Asked::parse(text).unwrap_err().hint();
        assert!(hint("ngnix").contains("--host nginx"));
        assert!(hint("alpine:3").contains("IMAGE:/path") && hint("").contains("lv2"));
    }
}
