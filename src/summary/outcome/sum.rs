//! Sums that do not depend on the order of what is added.

/// Sums of losses and of numbers measured in a training scale: multiples of 2^-60.
///
/// A term is held within ±2^40, far beyond any loss that means something; 2^27 terms of that size fit.
#[derive(Debug, Clone, Copy)]
pub struct Sum;

/// Sums of amounts of money and of their squares: multiples of 2^-20, a millionth.
///
/// A term is held within ±2^80, the square of a trillion; 2^27 terms of that size fit.
#[derive(Debug, Clone, Copy)]
pub struct AmountSum;

impl Sum {
    const ONE: f64 = (1_u64 << 60) as f64;
    const MAX: f64 = (1_u64 << 40) as f64;

    /// A term as a whole number of units; 0 for what is no number.
    pub fn encode(term: f64) -> i128 {
        encode(term, Self::MAX, Self::ONE)
    }

    /// The sum as a number.
    pub fn decode(sum: i128) -> f64 {
        sum as f64 / Self::ONE
    }
}

impl AmountSum {
    const ONE: f64 = (1_u64 << 20) as f64;
    const MAX: f64 = (1_u128 << 80) as f64;

    /// A term as a whole number of units; 0 for what is no number.
    pub fn encode(term: f64) -> i128 {
        encode(term, Self::MAX, Self::ONE)
    }

    /// The sum as a number.
    pub fn decode(sum: i128) -> f64 {
        sum as f64 / Self::ONE
    }
}

/// The cast saturates and takes NaN to 0, which is what is wanted of damage that got this far.
fn encode(term: f64, max: f64, one: f64) -> i128 {
    (term.clamp(-max, max) * one).round() as i128
}
