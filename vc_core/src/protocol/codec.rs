//! One bounded reader and one writer for every format of ours. Integers are big-endian; an encoding is unique:
//! whatever decodes re-encodes to the same bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;

/// The bytes are not of the expected form. Carries nothing: the sender learns nothing and logs need no more.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("malformed")]
pub struct Malformed;

pub type Result<T> = std::result::Result<T, Malformed>;

/// A type with exactly one encoding.
pub trait Wire: Sized {
    fn read(r: &mut Reader<'_>) -> Result<Self>;
    fn write(&self, w: &mut Vec<u8>);

    /// Decodes all of `bytes`; anything left over is malformed.
    fn decode(bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new(bytes);
        let value = Self::read(&mut r)?;
        r.finish()?;
        Ok(value)
    }

    fn encode(&self) -> Vec<u8> {
        let mut w = Vec::new();
        self.write(&mut w);
        w
    }
}

/// Reads from the front of a slice and can never read past it.
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(n).ok_or(Malformed)?;
        self.rest = tail;
        Ok(head)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, tail) = self.rest.split_first_chunk::<N>().ok_or(Malformed)?;
        self.rest = tail;
        Ok(*head)
    }

    pub fn u8(&mut self) -> Result<u8> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// All of it must have been read.
    pub fn finish(self) -> Result<()> {
        self.rest.is_empty().then_some(()).ok_or(Malformed)
    }

    /// All that is left must be zero: padding carries no covert bytes.
    pub fn zeros(self) -> Result<()> {
        self.rest.iter().all(|b| *b == 0).then_some(()).ok_or(Malformed)
    }

    /// A text of at most `max` bytes behind its length in one byte.
    pub fn short_text(&mut self, max: usize) -> Result<&'a str> {
        let len = usize::from(self.u8()?);
        if len > max {
            return Err(Malformed);
        }
        std::str::from_utf8(self.take(len)?).map_err(|_| Malformed)
    }

    /// A list behind its count in one byte; more than `max` items are malformed, so nothing grows with a lie.
    pub fn list<T: Wire>(&mut self, max: usize) -> Result<Vec<T>> {
        let count = usize::from(self.u8()?);
        if count > max {
            return Err(Malformed);
        }
        (0..count).map(|_| T::read(self)).collect()
    }
}

/// What `Reader::list` reads. The caller keeps lists below 256 items.
pub fn write_list<T: Wire>(w: &mut Vec<u8>, items: &[T]) {
    debug_assert!(items.len() < 256);
    w.push(items.len() as u8);
    for item in items {
        item.write(w);
    }
}

/// What `Reader::short_text` reads. The caller keeps texts below 256 bytes.
pub fn write_short_text(w: &mut Vec<u8>, text: &str) {
    debug_assert!(text.len() < 256);
    w.push(text.len() as u8);
    w.extend_from_slice(text.as_bytes());
}

/// A socket address in 19 bytes: family 4 or 6, 16 address bytes (IPv4 first, then zeros), port.
impl Wire for SocketAddr {
    fn read(r: &mut Reader<'_>) -> Result<Self> {
        let family = r.u8()?;
        let bytes: [u8; 16] = r.array()?;
        let port = r.u16()?;
        let ip = match family {
            4 => {
                let (v4, zeros) = bytes.split_first_chunk::<4>().ok_or(Malformed)?;
                Reader::new(zeros).zeros()?;
                IpAddr::V4(Ipv4Addr::from(*v4))
            }
            6 => {
                let v6 = Ipv6Addr::from(bytes);
                // One address, one spelling: a mapped IPv4 address must come as IPv4.
                if v6.to_ipv4_mapped().is_some() {
                    return Err(Malformed);
                }
                IpAddr::V6(v6)
            }
            _ => return Err(Malformed),
        };
        Ok(SocketAddr::new(ip, port))
    }

    fn write(&self, w: &mut Vec<u8>) {
        match self.ip().to_canonical() {
            IpAddr::V4(v4) => {
                w.push(4);
                w.extend_from_slice(&v4.octets());
                w.extend_from_slice(&[0; 12]);
            }
            IpAddr::V6(v6) => {
                w.push(6);
                w.extend_from_slice(&v6.octets());
            }
        }
        w.extend_from_slice(&self.port().to_be_bytes());
    }
}

impl<const N: usize> Wire for [u8; N] {
    fn read(r: &mut Reader<'_>) -> Result<Self> {
        r.array()
    }

    fn write(&self, w: &mut Vec<u8>) {
        w.extend_from_slice(self);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_encoding_and_a_mapped_one_has_none() {
        for text in ["192.0.2.1:5", "[2001:db8::1]:65535"] {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(addr.encode().len(), 19);
            assert_eq!(SocketAddr::decode(&addr.encode()), Ok(addr));
        }
        let mapped: SocketAddr = "[::ffff:192.0.2.1]:5".parse().unwrap();
        let plain: SocketAddr = "192.0.2.1:5".parse().unwrap();
        assert_eq!(mapped.encode(), plain.encode());
        let mut raw = vec![6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1, 0, 5];
        assert_eq!(SocketAddr::decode(&raw), Err(Malformed));
        raw[0] = 5;
        assert_eq!(SocketAddr::decode(&raw), Err(Malformed));
    }

    #[test]
    fn reading_past_the_end_is_malformed_and_takes_nothing() {
        let mut r = Reader::new(&[1, 2, 3]);
        assert_eq!(r.u32(), Err(Malformed));
        assert_eq!(r.u16(), Ok(0x0102));
        assert_eq!(r.take(2), Err(Malformed));
        assert_eq!(r.rest(), &[3]);
    }

    #[test]
    fn a_lying_count_is_refused_before_anything_is_kept() {
        assert_eq!(Reader::new(&[200, 1, 2]).list::<[u8; 8]>(16), Err(Malformed));
        assert_eq!(Reader::new(&[2, 1, 2]).list::<[u8; 8]>(16), Err(Malformed));
        assert_eq!(Reader::new(&[5, b'a']).short_text(32), Err(Malformed));
        assert_eq!(Reader::new(&[1, 0xff]).short_text(32), Err(Malformed));
    }
}
