//! Arbitrary bytes read as a play: what to do next, with which bytes. It never runs dry mid-scene; it answers zeros.

pub struct Script<'a> {
    rest: &'a [u8],
}

impl<'a> Script<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    pub fn is_over(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *first
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    pub fn u32(&mut self) -> u32 {
        u32::from(self.u16()) << 16 | u32::from(self.u16())
    }

    /// Bytes behind their length in two bytes.
    pub fn bytes(&mut self) -> &'a [u8] {
        let len = usize::from(self.u16()).min(self.rest.len());
        let (bytes, rest) = self.rest.split_at(len);
        self.rest = rest;
        bytes
    }

    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    pub fn pick<'t, T>(&mut self, of: &'t [T]) -> Option<&'t T> {
        let n = usize::from(self.byte());
        of.get(n % of.len().max(1))
    }

    /// A message as it may arrive: whole, changed, cut, or another altogether.
    pub fn distort(&mut self, genuine: &[u8]) -> Vec<u8> {
        let mut bytes = genuine.to_vec();
        match self.byte() % 4 {
            0 => {}
            1 => {
                for _ in 0..=self.byte() % 4 {
                    let (at, flip) = (usize::from(self.u16()), self.byte());
                    if let Some(byte) = bytes.get_mut(at % genuine.len().max(1)) {
                        *byte ^= flip;
                    }
                }
            }
            2 => bytes.truncate(usize::from(self.u16())),
            _ => bytes = self.bytes().to_vec(),
        }
        bytes
    }
}

/// Longer plays find nothing that shorter ones do not, only later.
pub const MAX_STEPS: usize = 64;
