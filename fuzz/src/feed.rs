//! A fuzzer's bytes, taken as choices.
//!
//! A target that exercises operations (not one parser) draws each decision from here: which
//! operation, which number, how long. When the bytes run out every choice is the smallest, so a
//! short input is a short story. The fuzzer learns which bytes steer what.

/// What is left of the input.
#[derive(Clone, Debug)]
pub struct Feed<'a> {
    rest: &'a [u8],
}

impl<'a> Feed<'a> {
    /// Choices from `bytes`.
    pub fn new(bytes: &'a [u8]) -> Feed<'a> {
        Feed { rest: bytes }
    }

    /// No choice is left: stories end here.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// A byte; 0 at the end.
    pub fn byte(&mut self) -> u8 {
        match self.rest.split_first() {
            Some((byte, rest)) => {
                self.rest = rest;
                *byte
            }
            None => 0,
        }
    }

    /// A number of 16 bits.
    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// A number of 32 bits.
    pub fn u32(&mut self) -> u32 {
        u32::from(self.u16()) | u32::from(self.u16()) << 16
    }

    /// A number below `end`, which is not zero. Takes one byte where one is enough.
    pub fn below(&mut self, end: usize) -> usize {
        match end {
            0..=0x100 => usize::from(self.byte()) % end.max(1),
            0x101..=0x1_0000 => usize::from(self.u16()) % end,
            _ => self.u32() as usize % end,
        }
    }

    /// True once in `n`.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    /// Up to `count` bytes as they are.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// All that is left.
    pub fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }
}
