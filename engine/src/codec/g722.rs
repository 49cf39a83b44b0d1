//! G.722 at 64 kbit/s: 16 kHz sound in two bands, each its own ADPCM; a byte for two samples.
//!
//! The names in the code are those of the Recommendation's blocks, so that it can be read beside
//! it. Arithmetic is that of the Recommendation, 16 bits with saturation, and gives its very bits.
//! Ours, because the crates there are either bring an async runtime or are not bit-exact.
//!
//! Source: ITU-T G.722 (blocks of §6.2, tables 7, 9-21; transmission mode 1).

use super::{Decode, Encode, Malformed};

/// Both bands meet here: the quadrature mirror filter's coefficients, even ones (table 11).
const QMF: [i32; 12] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];

/// Samples at 16 kHz of one byte.
const SAMPLES_PER_BYTE: usize = 2;

const WL: [i32; 8] = [-60, -30, 58, 172, 334, 538, 1198, 3042];
const RL42: [usize; 16] = [0, 7, 6, 5, 4, 3, 2, 1, 7, 6, 5, 4, 3, 2, 1, 0];
const WH: [i32; 3] = [0, -214, 798];
const RH2: [usize; 4] = [2, 1, 2, 1];
#[rustfmt::skip]
const ILB: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834,
    2896, 2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];
const QM2: [i32; 4] = [-7408, -1616, 7408, 1616];
#[rustfmt::skip]
const QM4: [i32; 16] = [
    0, -20456, -12896, -8968, -6288, -4240, -2584, -1200,
    20456, 12896, 8968, 6288, 4240, 2584, 1200, 0,
];
#[rustfmt::skip]
const QM6: [i32; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704,
    -14984, -13512, -12280, -11192, -10232, -9360, -8576, -7856,
    -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576,
    -3168, -2776, -2400, -2032, -1688, -1360, -1040, -728,
    24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192,
    10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456,
    4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032,
    1688, 1360, 1040, 728, 432, 136, -432, -136,
];
#[rustfmt::skip]
const Q6: [i32; 30] = [
    0, 35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650,
    714, 786, 858, 940, 1023, 1121, 1219, 1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919,
];

/// What one band remembers.
#[derive(Clone, Debug)]
struct Band {
    s: i32,
    sz: i32,
    r: [i32; 3],
    a: [i32; 3],
    p: [i32; 3],
    d: [i32; 7],
    b: [i32; 7],
    nb: i32,
    det: i32,
}

/// Bytes to samples.
#[derive(Clone, Debug)]
pub struct Decoder {
    low: Band,
    high: Band,
    qmf: [i32; 24],
}

/// Samples to bytes.
#[derive(Clone, Debug)]
pub struct Encoder {
    low: Band,
    high: Band,
    qmf: [i32; 24],
}

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder {
            low: Band::new(32),
            high: Band::new(8),
            qmf: [0; 24],
        }
    }
}

impl Default for Encoder {
    fn default() -> Encoder {
        Encoder {
            low: Band::new(32),
            high: Band::new(8),
            qmf: [0; 24],
        }
    }
}

impl Decode for Decoder {
    fn rate_hz(&self) -> u32 {
        16_000
    }

    fn decode(&mut self, payload: &[u8], pcm: &mut Vec<i16>) -> Result<(), Malformed> {
        if payload.is_empty() {
            return Err(Malformed);
        }
        for byte in payload {
            pcm.extend(self.byte(*byte));
        }
        Ok(())
    }
}

impl Encode for Encoder {
    fn rate_hz(&self) -> u32 {
        16_000
    }

    fn encode(&mut self, pcm: &[i16], payload: &mut [u8]) -> usize {
        let pairs = pcm.chunks_exact(SAMPLES_PER_BYTE);
        let count = pairs.len().min(payload.len());
        for (byte, pair) in payload.iter_mut().zip(pairs) {
            *byte = self.pair(i32::from(pair[0]), i32::from(pair[1]));
        }
        count
    }
}

impl Decoder {
    fn byte(&mut self, byte: u8) -> [i16; SAMPLES_PER_BYTE] {
        let (ilow, ihigh) = (usize::from(byte & 0x3f), usize::from(byte >> 6));
        let rlow = limit(self.low.s + ((self.low.det * QM6[ilow]) >> 15));
        self.low.advance_low(ilow >> 2);
        let dhigh = (self.high.det * QM2[ihigh]) >> 15;
        let rhigh = limit(dhigh + self.high.s);
        self.high.advance_high(ihigh);
        let (odd, even) = qmf(&mut self.qmf, rlow + rhigh, rlow - rhigh);
        [saturate(even >> 11) as i16, saturate(odd >> 11) as i16]
    }
}

impl Encoder {
    fn pair(&mut self, first: i32, second: i32) -> u8 {
        let (odd, even) = qmf(&mut self.qmf, first, second);
        let (xlow, xhigh) = ((even + odd) >> 14, (even - odd) >> 14);
        let ilow = self.low.quantize_low(saturate(xlow - self.low.s));
        self.low.advance_low(usize::from(ilow >> 2));
        let ihigh = self.high.quantize_high(saturate(xhigh - self.high.s));
        self.high.advance_high(usize::from(ihigh));
        ihigh << 6 | ilow
    }
}

/// Both filters of the mirror pair over what came last.
fn qmf(x: &mut [i32; 24], first: i32, second: i32) -> (i32, i32) {
    x.copy_within(2.., 0);
    x[22] = first;
    x[23] = second;
    let (mut odd, mut even) = (0, 0);
    for i in 0..12 {
        odd += x[2 * i] * QMF[i];
        even += x[2 * i + 1] * QMF[11 - i];
    }
    (odd, even)
}

impl Band {
    fn new(det: i32) -> Band {
        Band {
            s: 0,
            sz: 0,
            r: [0; 3],
            a: [0; 3],
            p: [0; 3],
            d: [0; 7],
            b: [0; 7],
            nb: 0,
            det,
        }
    }

    /// QUANTL: the six bits of the lower band.
    fn quantize_low(&self, el: i32) -> u8 {
        let magnitude = if el >= 0 { el } else { -(el + 1) };
        let above = |i: &usize| magnitude < (Q6[*i] * self.det) >> 12;
        let mil = (1..Q6.len()).find(above).unwrap_or(Q6.len());
        match (el < 0, mil) {
            (true, 1 | 2) => 64 - mil as u8,
            (true, _) => 34 - mil as u8,
            (false, _) => 62 - mil as u8,
        }
    }

    /// QUANTH: the two bits of the upper band.
    fn quantize_high(&self, eh: i32) -> u8 {
        let magnitude = if eh >= 0 { eh } else { -(eh + 1) };
        let far = magnitude >= (564 * self.det) >> 12;
        match (eh < 0, far) {
            (true, false) => 1,
            (true, true) => 0,
            (false, false) => 3,
            (false, true) => 2,
        }
    }

    /// LOGSCL, SCALEL and the predictor, with the four most significant bits of the code.
    fn advance_low(&mut self, ril: usize) {
        let d = (self.det * QM4[ril]) >> 15;
        self.nb = (((self.nb * 127) >> 7) + WL[RL42[ril]]).clamp(0, 18_432);
        self.det = self.scale(8);
        self.predict(d);
    }

    /// LOGSCH, SCALEH and the predictor.
    fn advance_high(&mut self, ih: usize) {
        let d = (self.det * QM2[ih]) >> 15;
        self.nb = (((self.nb * 127) >> 7) + WH[RH2[ih]]).clamp(0, 22_528);
        self.det = self.scale(10);
        self.predict(d);
    }

    fn scale(&self, from: i32) -> i32 {
        let mantissa = ILB[(self.nb >> 6 & 31) as usize];
        let shift = from - (self.nb >> 11);
        let wide = if shift < 0 {
            mantissa << -shift
        } else {
            mantissa >> shift
        };
        wide << 2
    }

    /// Block 4: adapts the poles and zeros to the difference `d`, predicts the next sample.
    fn predict(&mut self, d: i32) {
        self.d[0] = d;
        self.r[0] = saturate(self.s + d);
        self.p[0] = saturate(self.sz + d);
        let same = |n: usize| (self.p[0] < 0) == (self.p[n] < 0);
        let a2 = self.upper_pole(same(1), same(2));
        let a1 = self.lower_pole(same(1), a2);
        self.adapt_zeros();
        self.d.copy_within(0..6, 1);
        self.r.copy_within(0..2, 1);
        self.p.copy_within(0..2, 1);
        self.a = [0, a1, a2];
        let pole = |n: usize| (self.a[n] * saturate(2 * self.r[n])) >> 15;
        let sp = saturate(pole(1) + pole(2));
        let zero = |n: usize| (self.b[n] * saturate(2 * self.d[n])) >> 15;
        self.sz = saturate((1..7).map(zero).sum());
        self.s = saturate(sp + self.sz);
    }

    /// UPPOL2.
    fn upper_pole(&self, same_as_last: bool, same_as_before: bool) -> i32 {
        let wide = saturate(self.a[1] * 4);
        let moved = if same_as_last { -wide } else { wide }.min(32_767);
        let step = if same_as_before { 128 } else { -128 };
        (step + (moved >> 7) + ((self.a[2] * 32_512) >> 15)).clamp(-12_288, 12_288)
    }

    /// UPPOL1.
    fn lower_pole(&self, same_as_last: bool, a2: i32) -> i32 {
        let step = if same_as_last { 192 } else { -192 };
        let bound = saturate(15_360 - a2);
        saturate(step + ((self.a[1] * 32_640) >> 15)).clamp(-bound, bound)
    }

    /// UPZERO.
    fn adapt_zeros(&mut self) {
        let step = if self.d[0] == 0 { 0 } else { 128 };
        for n in 1..7 {
            let same = (self.d[n] < 0) == (self.d[0] < 0);
            let towards = if same { step } else { -step };
            self.b[n] = saturate(towards + ((self.b[n] * 32_640) >> 15));
        }
    }
}

/// To 16 bits.
fn saturate(value: i32) -> i32 {
    value.clamp(-32_768, 32_767)
}

/// LIMIT: to 15 bits.
fn limit(value: i32) -> i32 {
    value.clamp(-16_384, 16_383)
}
