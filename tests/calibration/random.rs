//! Seeded random numbers, and counts drawn from a law on bins.

/// SplitMix64 (Steele, Lea and Flood 2014, doi:10.1145/2714064.2660195).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The stream of a seed. Streams of different `seed` and `stream` start far from each other.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut start = Self(seed);
        let offset = Self(stream ^ start.next()).next();
        Self(offset)
    }

    /// 64 random bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In (0, 1).
    pub fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Standard normal (Box and Muller 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (2.0 * std::f64::consts::PI * self.uniform()).cos()
    }

    /// How many of `n` rows meet with something of this probability.
    pub fn binomial(&mut self, n: u64, probability: f64) -> u64 {
        (0..n).filter(|_| self.uniform() < probability).count() as u64
    }

    /// Counts of `n` rows in bins of these probabilities: Walker's alias method (Vose 1991), which is exact
    /// up to the 2^-32 to which a bin's share of its column is rounded.
    pub fn multinomial(&mut self, n: u64, probabilities: &[f64]) -> Vec<u32> {
        let table = alias_table(probabilities);
        let mut counts = vec![0u32; table.len()];
        let columns = table.len() as u64;
        for _ in 0..n {
            let bits = self.next();
            let column = (((bits >> 32) * columns) >> 32) as usize;
            let (kept, other) = table[column];
            let bin = if (bits & 0xffff_ffff) < kept { column } else { other };
            counts[bin] += 1;
        }
        counts
    }
}

/// For each column: below which of 2^32 it stays, and where it goes else.
fn alias_table(probabilities: &[f64]) -> Vec<(u64, usize)> {
    const ONE: f64 = 4_294_967_296.0;
    let total: f64 = probabilities.iter().sum();
    let mut mass: Vec<f64> = probabilities.iter().map(|p| p / total * probabilities.len() as f64).collect();
    let (mut small, mut large): (Vec<usize>, Vec<usize>) =
        (0..mass.len()).partition(|&column| mass[column] < 1.0);
    let mut table: Vec<(u64, usize)> = (0..mass.len()).map(|column| (1 << 32, column)).collect();
    while let (Some(&low), Some(&high)) = (small.last(), large.last()) {
        small.pop();
        table[low] = ((mass[low] * ONE) as u64, high);
        mass[high] -= 1.0 - mass[low];
        if mass[high] < 1.0 {
            large.pop();
            small.push(high);
        }
    }
    table
}
