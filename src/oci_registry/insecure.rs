//! Which registries an engine takes at their word (dockerd, `insecure-registries`): those it names, and all in its networks.

use std::net::{IpAddr, Ipv6Addr};

/// Whether a registry is one of those: `marked` are the engine's hosts and networks, `addresses` those of the host's name.
pub(super) fn is_insecure(host: &str, addresses: &[IpAddr], marked: &[String]) -> bool {
    let in_network = |network: &Network| addresses.iter().any(|address| network.has(*address));
    marked
        .iter()
        .any(|entry| entry == host || Network::parse(entry).as_ref().is_some_and(in_network))
}

/// A host's name and port: `[::1]:5000` is `::1` and 5000.
pub(super) fn name_and_port(host: &str) -> (&str, Option<u16>) {
    let (name, port) = match host.rsplit_once(':') {
        // The colons of an IPv6 address are inside brackets.
        Some((name, port)) if !port.ends_with(']') => (name, port.parse().ok()),
        _ => (host, None),
    };
    let inside = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    (inside.unwrap_or(name), port)
}

/// A block of addresses (RFC 4632).
struct Network {
    address: IpAddr,
    prefix_bits: u32,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let prefix_bits = prefix.parse().ok()?;
        (prefix_bits <= width_bits(address)).then_some(Self { address, prefix_bits })
    }

    fn has(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let width = width_bits(self.address);
        if width_bits(address) != width {
            return false;
        }
        let kept = |address| number(address).checked_shr(width - self.prefix_bits).unwrap_or(0);
        kept(address) == kept(self.address)
    }
}

const fn width_bits(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => u32::BITS,
        IpAddr::V6(_) => Ipv6Addr::BITS,
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_taken_at_its_word_by_name_or_by_network() {
        let marked = [
            "127.0.0.0/8",
            "::1/128",
            "box.example:5000",
            "10.1.0.0/16",
            "nonsense/x",
            "1.2.3.4/99",
        ];
        let marked = marked.map(str::to_owned);
        for (host, address, expected) in [
            ("127.0.0.1:5000", "127.0.0.1", true),
            ("localhost:5000", "127.0.0.1", true),
            ("localhost:5000", "::1", true),
            ("[::1]:5000", "::1", true),
            ("mapped.example", "::ffff:127.0.0.1", true),
            ("box.example:5000", "192.0.2.1", true),
            ("box.example", "192.0.2.1", false),
            ("x.example", "10.1.255.255", true),
            ("x.example", "10.2.0.0", false),
            ("x.example", "1.2.3.4", false),
            ("x.example", "::2", false),
        ] {
            let addresses = [address.parse().unwrap()];
            assert_eq!(is_insecure(host, &addresses, &marked), expected, "{host} {address}");
        }
        assert!(!is_insecure("x.example", &[], &marked), "it has no address");
        let everywhere = ["0.0.0.0/0".to_owned()];
        assert!(is_insecure("x.example", &["192.0.2.1".parse().unwrap()], &everywhere));
        assert!(!is_insecure(
            "x.example",
            &["2001:db8::1".parse().unwrap()],
            &everywhere
        ));
    }

    #[test]
    fn a_host_has_a_name_and_maybe_a_port() {
        for (host, expected) in [
            ("a.example", ("a.example", None)),
            ("a.example:5000", ("a.example", Some(5000))),
            ("127.0.0.1:80", ("127.0.0.1", Some(80))),
            ("[::1]", ("::1", None)),
            ("[::1]:5000", ("::1", Some(5000))),
        ] {
            assert_eq!(name_and_port(host), expected, "{host}");
        }
    }
}
