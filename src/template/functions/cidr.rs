//! Functions on IP address ranges, of both versions.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::{Map, Value};

use super::Arguments;

type Answer = Result<Value, String>;

/// A range: the first address as a number, the prefix's length, the addresses' width in bits.
#[derive(Clone, Copy)]
struct Range {
    network: u128,
    prefix: u32,
    width: u32,
}

impl Range {
    fn read(text: &str) -> Result<Self, String> {
        let invalid = || format!("'{text}' is no address range such as 10.0.0.0/16");
        let (address, prefix) = text.trim().split_once('/').ok_or_else(invalid)?;
        let prefix: u32 = prefix.parse().map_err(|_| invalid())?;
        let (number, width) = match address.parse::<IpAddr>().map_err(|_| invalid())? {
            IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
            IpAddr::V6(address) => (address.to_bits(), 128),
        };
        if prefix > width {
            return Err(format!("the prefix of '{text}' must be between 0 and {width}"));
        }
        let range = Self { network: number, prefix, width };
        Ok(Self { network: number & range.mask(), ..range })
    }

    fn host_bits(self) -> u32 {
        self.width - self.prefix
    }

    fn hosts(self) -> u128 {
        if self.host_bits() == 128 { u128::MAX } else { (1 << self.host_bits()) - 1 }
    }

    fn all(self) -> u128 {
        if self.width == 128 { u128::MAX } else { (1 << self.width) - 1 }
    }

    fn mask(self) -> u128 {
        self.all() & !self.hosts()
    }

    fn address(self, number: u128) -> String {
        match u32::try_from(number) {
            Ok(number) if self.width == 32 => Ipv4Addr::from_bits(number).to_string(),
            _ => Ipv6Addr::from_bits(number).to_string(),
        }
    }
}

pub(super) fn parse_cidr(given: &Arguments<'_>) -> Answer {
    let range = Range::read(given.text(0)?)?;
    let last = range.network | range.hosts();
    let mut parts = Map::new();
    let mut put = |name: &str, value: Value| parts.insert(name.to_owned(), value);
    put("network", range.address(range.network).into());
    put("netmask", range.address(range.mask()).into());
    if range.width == 32 {
        put("broadcast", range.address(last).into());
        put("firstUsable", range.address(if range.host_bits() > 1 { range.network + 1 } else { range.network }).into());
        put("lastUsable", range.address(if range.host_bits() > 1 { last - 1 } else { last }).into());
    } else {
        put("firstUsable", range.address(range.network).into());
        put("lastUsable", range.address(last).into());
    }
    put("cidr", range.prefix.into());
    Ok(Value::Object(parts))
}

pub(super) fn cidr_subnet(given: &Arguments<'_>) -> Answer {
    let range = Range::read(given.text(0)?)?;
    let prefix = u32::try_from(given.integer(1)?).ok().filter(|prefix| (range.prefix..=range.width).contains(prefix));
    let prefix = prefix.ok_or_else(|| format!("argument 2, the new prefix, must be between {} and {}", range.prefix, range.width))?;
    let index = given.integer(2)?;
    let subnet = Range { prefix, ..range };
    let beyond = || format!("argument 3, the subnet's index {index}, is beyond the range's last subnet");
    let number = u128::try_from(index).map_err(|_| beyond())?;
    let fits = prefix - range.prefix == 128 || number < (1_u128 << (prefix - range.prefix));
    if !fits {
        return Err(beyond());
    }
    let network = range.network | number.checked_shl(subnet.host_bits()).unwrap_or(0);
    Ok(Value::String(format!("{}/{prefix}", range.address(network))))
}

pub(super) fn cidr_host(given: &Arguments<'_>) -> Answer {
    let range = Range::read(given.text(0)?)?;
    let index = given.integer(1)?;
    // The first address of an IPv4 range names the network itself, and the last one is its broadcast address.
    let first = u128::from(range.width == 32 && range.host_bits() > 1);
    let usable = range.hosts().saturating_sub(2 * first);
    match u128::try_from(index) {
        Ok(index) if index <= usable => Ok(Value::String(range.address(range.network + first + index))),
        _ => Err(format!("argument 2, the host's index {index}, must be between 0 and {usable}")),
    }
}
