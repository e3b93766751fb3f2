//! Where a server is, and which key it must show: `HOST[:PORT][#KEY]`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use thiserror::Error;
use vc_core::crypto::keys::PublicKey;
use vc_core::room::code::{base32, unbase32};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// A name or a bare IP address.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) key: Option<PublicKey>,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum BadPlace {
    #[error("a server is written HOST:PORT, for example play.example.org:47700 or 192.168.1.5:47700")]
    Form,
    #[error("the address that friends dial is written HOST:PORT, for example home.example.org:47700")]
    Dialled,
    #[error("a port is a whole number from 1 to 65535")]
    Port,
    #[error("the part after # is not a server's key; copy the whole line that `voicechat serve` printed")]
    Key,
}

impl Place {
    pub(crate) fn at(addr: SocketAddr, key: PublicKey) -> Self {
        Self { host: addr.ip().to_string(), port: addr.port(), key: Some(key) }
    }

    /// Where friends dial when that is another address than ours: `HOST:PORT`. Its port is the one that a router forwards,
    /// so it is not guessed, and the key that must be shown is our own.
    pub(crate) fn dialled(text: &str) -> Result<Self, BadPlace> {
        let text = text.trim();
        let place = text.parse().map_err(|bad| if bad == BadPlace::Port { bad } else { BadPlace::Dialled });
        let bare = text.parse::<IpAddr>().is_ok();
        let port = text.rsplit_once(':').filter(|(_, port)| !bare && !port.ends_with(']'));
        place.and_then(|place: Self| match (&place.key, port) {
            (None, Some(_)) => Ok(place),
            _ => Err(BadPlace::Dialled),
        })
    }

    /// `HOST:PORT`, without the key.
    pub(crate) fn address(&self) -> String {
        match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V6(ip)) => format!("[{ip}]:{}", self.port),
            _ => format!("{}:{}", self.host, self.port),
        }
    }
}

/// The whole line, as `voicechat serve` prints it.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address())?;
        match &self.key {
            Some(key) => write!(f, "#{}", base32(&key.0)),
            None => Ok(()),
        }
    }
}

impl FromStr for Place {
    type Err = BadPlace;

    fn from_str(text: &str) -> Result<Self, BadPlace> {
        let text = text.trim();
        let (address, key) = match text.split_once('#') {
            Some((address, key)) => (address, Some(PublicKey(unbase32(key).ok_or(BadPlace::Key)?))),
            None => (text, None),
        };
        let (host, port) = host_port(address)?;
        Ok(Self { host: host.to_owned(), port, key })
    }
}

fn host_port(text: &str) -> Result<(&str, u16), BadPlace> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(BadPlace::Form)?;
        let Ok(IpAddr::V6(_)) = host.parse() else { return Err(BadPlace::Form) };
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, port_number(port)?)),
            None if rest.is_empty() => Ok((host, PORT)),
            None => Err(BadPlace::Form),
        };
    }
    if let Ok(IpAddr::V6(_)) = text.parse() {
        return Ok((text, PORT));
    }
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    if !is_name(host) && host.parse::<Ipv4Addr>().is_err() {
        return Err(BadPlace::Form);
    }
    Ok((host, port.map_or(Ok(PORT), port_number)?))
}

/// As machines are called (RFC 1123), and with the underscores that home networks put up with. What ends like an IP
/// address is one, or wrong (RFC 3696).
fn is_name(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    // How long it may be is left to those who know names.
    let fits = |label: &str| {
        let letters = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        letters && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    host.split('.').all(fits) && !last.bytes().all(|byte| byte.is_ascii_digit())
}

fn port_number(text: &str) -> Result<u16, BadPlace> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadPlace::Form);
    }
    text.parse().ok().filter(|port| *port != 0).ok_or(BadPlace::Port)
}

/// In the dynamic range, so that no registered service is disturbed.
pub(crate) const PORT: u16 = relay::program::PORT;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn place(text: &str) -> Result<(String, bool), BadPlace> {
        text.parse::<Place>().map(|place| (place.address(), place.key.is_some()))
    }

    #[test]
    fn a_port_may_be_left_out_and_an_ipv6_address_may_stand_bare() {
        assert_eq!(place("play.example.org"), Ok(("play.example.org:47700".into(), false)));
        assert_eq!(place("10.0.0.2:5"), Ok(("10.0.0.2:5".into(), false)));
        assert_eq!(place("::1"), Ok(("[::1]:47700".into(), false)));
        assert_eq!(place("[2001:db8::1]:9"), Ok(("[2001:db8::1]:9".into(), false)));
    }

    #[test]
    fn a_place_with_a_key_comes_back_from_its_text() {
        let place = Place { host: "h.example".into(), port: 7, key: Some(PublicKey([9; 32])) };
        assert_eq!(place.to_string().parse::<Place>().unwrap(), place);
        assert_eq!(place.to_string().to_uppercase().parse::<Place>().unwrap().key, place.key);
    }

    #[test]
    fn what_is_no_place_says_so() {
        for text in ["", ":1", "host:", "host:-1", "a b", "[::1", "[::1]x", "[host]:1", "a:b:c"] {
            assert_eq!(place(text), Err(BadPlace::Form), "{text}");
        }
        for text in ["host:0", "host:65536", "10.0.0.2:70000", "[::1]:99999999999"] {
            assert_eq!(place(text), Err(BadPlace::Port), "{text}");
        }
        assert_eq!(place("host:65535"), Ok(("host:65535".into(), false)));
        for text in ["...", "-", "a..b", "-a.org", "a-.org", "999.1.1.1", "1.2.3", "7", ".org"] {
            assert_eq!(place(text), Err(BadPlace::Form), "{text}");
        }
        for text in ["my_box", "play.example.org.", "1a", "xn--mnchen-3ya.de"] {
            assert!(place(text).is_ok(), "{text}");
        }
        assert_eq!(place("host:1#"), Err(BadPlace::Key));
        assert_eq!(place("host:1#abc"), Err(BadPlace::Key));
    }

    #[test]
    fn the_address_that_friends_dial_has_a_port_and_no_key() {
        let key = Place { host: "h.example".into(), port: 7, key: Some(PublicKey([9; 32])) }.to_string();
        for text in ["nope", "::1", "[::1]", "a..b:5", "", &key] {
            assert_eq!(Place::dialled(text), Err(BadPlace::Dialled), "{text}");
        }
        assert_eq!(Place::dialled("nope:70000"), Err(BadPlace::Port));
        for (text, port) in [("nope:5", 5), (" 192.0.2.7:47700 ", 47_700), ("[::1]:0080", 80)] {
            assert_eq!(Place::dialled(text).map(|place| place.port), Ok(port), "{text}");
        }
    }
}
