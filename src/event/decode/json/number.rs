//! JSON numbers: their grammar, and their nearest double.
//!
//! Invariant: [`Number::to_f64`] is the double nearest to the number as written, ties to even, as
//! `str::parse` gives it. No integer is cut: one beyond 2^53 becomes the nearest double, and a number
//! beyond the doubles becomes an infinity.

/// Powers of ten that a double holds exactly.
const EXACT_TENS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// Powers of ten by which a run of digits moves the ones before it.
const INTEGER_TENS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// Up to this many digits always fit into 64 bits.
const DIGITS_EXACT: usize = 19;

/// Integers up to here are doubles.
const INTEGER_EXACT: u64 = 1 << 53;

/// Explicit exponents are held at this, far beyond what any digit can make up for.
const EXPONENT_MAX: i64 = 1 << 40;

/// A number as written in a record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number<'a> {
    /// The bytes it is written in: ASCII.
    pub text: &'a [u8],
    /// Whether a minus sign is in front.
    pub negative: bool,
    /// All its digits, if `exact`.
    pub mantissa: u64,
    /// The power of ten the digits are multiplied by, if `exact`.
    pub exponent: i64,
    /// Whether `mantissa` holds all digits.
    pub exact: bool,
    /// Whether it is written without a point and an exponent.
    pub integer: bool,
}

/// Reads the number that starts at `start`.
///
/// # Errors
/// The position of the first byte that breaks the grammar of RFC 8259, section 6.
// Inlined so that the parts of a number stay in registers: handed over in memory they cost as much as the
// reading.
#[inline(always)]
pub(super) fn scan(bytes: &[u8], start: usize) -> Result<Number<'_>, usize> {
    let negative = bytes.get(start) == Some(&b'-');
    let first = start + usize::from(negative);
    let mut mantissa = 0;
    let mut at = digits(bytes, first, &mut mantissa);
    let mut digit_count = at - first;
    if digit_count == 0 || (digit_count > 1 && bytes.get(first) == Some(&b'0')) {
        return Err(first);
    }
    let mut exponent = 0;
    let mut integer = true;
    if bytes.get(at) == Some(&b'.') {
        let point = at;
        at = digits(bytes, point + 1, &mut mantissa);
        let decimals = at - point - 1;
        if decimals == 0 {
            return Err(at);
        }
        digit_count += decimals;
        exponent = -i64::try_from(decimals).unwrap_or(i64::MAX);
        integer = false;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let (explicit, end) = scan_exponent(bytes, at + 1)?;
        exponent += explicit;
        at = end;
        integer = false;
    }
    let text = bytes.get(start..at).unwrap_or_default();
    Ok(Number { text, negative, mantissa, exponent, exact: digit_count <= DIGITS_EXACT, integer })
}

/// Reads a whole text as a number; `None` if it is none.
pub(super) fn scan_whole(text: &[u8]) -> Option<Number<'_>> {
    scan(text, 0).ok().filter(|number| number.text.len() == text.len())
}

/// Appends the digits from `at` on to `mantissa`, which wraps when there are too many, and gives the
/// position behind them.
///
/// Eight bytes at a time and without a branch on the number of digits, which no processor can predict.
#[inline(always)]
fn digits(bytes: &[u8], mut at: usize, mantissa: &mut u64) -> usize {
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let (count, value) = leading_digits(u64::from_le_bytes(*chunk));
        let tens = INTEGER_TENS.get(count).copied().unwrap_or(0);
        *mantissa = mantissa.wrapping_mul(tens).wrapping_add(value);
        at += count;
        if count < 8 {
            return at;
        }
    }
    while let Some(digit) = bytes.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
        *mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    at
}

/// How many of these eight bytes, the first one lowest, are digits up to the first that is none, and the
/// number that they write.
#[inline(always)]
fn leading_digits(chunk: u64) -> (usize, u64) {
    let digits = chunk ^ 0x3030_3030_3030_3030;
    // A byte above 9 gets its top bit, or has it already; a carry only reaches the bytes behind it.
    let others = (digits.wrapping_add(0x7676_7676_7676_7676) | digits) & 0x8080_8080_8080_8080;
    let count = others.trailing_zeros() / 8;
    // Shifted so that zeros stand in front, in two steps as a shift by 64 is none.
    let aligned = if count == 8 { digits } else { (digits << (8 * (7 - count))) << 8 };
    // Neighbours are joined to pairs, pairs to fours, fours to eight: the upper ten-fold plus the lower.
    let pairs = (aligned.wrapping_mul(10 << 8 | 1) >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100 << 16 | 1) >> 16) & 0x0000_ffff_0000_ffff;
    let eight = fours.wrapping_mul(10_000 << 32 | 1) >> 32;
    (usize::try_from(count).unwrap_or(0), eight)
}

#[cold]
fn scan_exponent(bytes: &[u8], start: usize) -> Result<(i64, usize), usize> {
    let negative = bytes.get(start) == Some(&b'-');
    let first = start + usize::from(matches!(bytes.get(start), Some(b'-' | b'+')));
    let mut at = first;
    let mut value: i64 = 0;
    while let Some(digit) = bytes.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
        value = (value * 10 + i64::from(digit)).min(EXPONENT_MAX);
        at += 1;
    }
    if at == first { Err(at) } else { Ok((if negative { -value } else { value }, at)) }
}

impl Number<'_> {
    /// The nearest double; beyond the largest one an infinity.
    #[inline(always)]
    pub(super) fn to_f64(self) -> f64 {
        let magnitude = if self.exact { self.fast_magnitude() } else { None };
        match magnitude {
            Some(magnitude) if self.negative => -magnitude,
            Some(magnitude) => magnitude,
            None => self.slow_value(),
        }
    }

    /// Exact arithmetic and one rounding, for numbers of everyday size.
    #[inline(always)]
    fn fast_magnitude(self) -> Option<f64> {
        if self.mantissa > INTEGER_EXACT {
            return self.long_magnitude();
        }
        let mantissa = self.mantissa as f64;
        let tens = EXACT_TENS.get(usize::try_from(self.exponent.unsigned_abs()).ok()?)?;
        // Clinger 1990: both operands are exact, so one operation rounds once.
        Some(if self.exponent < 0 { mantissa / tens } else { mantissa * tens })
    }

    /// The same for more digits than a double holds.
    fn long_magnitude(self) -> Option<f64> {
        match self.exponent {
            // The conversion rounds to nearest, ties to even.
            0 => Some(self.mantissa as f64),
            ..0 => divide_by_tens(self.mantissa, usize::try_from(self.exponent.unsigned_abs()).ok()?),
            _ => None,
        }
    }

    #[cold]
    fn slow_value(self) -> f64 {
        // The grammar of JSON is a part of the grammar that `str::parse` reads, so this never fails.
        std::str::from_utf8(self.text).ok().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
    }
}

/// The double nearest to `mantissa / 10^power`, for a mantissa above 2^53 and a power up to 19.
///
/// Numbers that other languages print with 17 digits end here. Both are shifted to the top of 64 bits, the
/// 128-bit division gives at least 62 bits of the quotient, and its remainder is kept as a sticky lowest
/// bit, far below the 53 bits that remain: so the one rounding to a double is the right one.
#[inline]
fn divide_by_tens(mantissa: u64, power: usize) -> Option<f64> {
    let tens = 10_u64.checked_pow(u32::try_from(power).ok()?)?;
    let dividend = mantissa.checked_shl(mantissa.leading_zeros())?;
    let divisor = tens.checked_shl(tens.leading_zeros())?;
    let wide = u128::from(dividend) << 63;
    let quotient = u64::try_from(wide / u128::from(divisor)).ok()?;
    let sticky = u64::from(wide % u128::from(divisor) != 0);
    // The scale is a power of two between 2^-127 and 2^1, so multiplying by it is exact.
    let shift = u64::from(1023 - 63 + tens.leading_zeros() - mantissa.leading_zeros());
    Some((quotient | sticky) as f64 * f64::from_bits(shift << 52))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str) {
        let number = scan_whole(text.as_bytes()).expect(text);
        let expected: f64 = text.parse().expect(text);
        assert_eq!(number.to_f64().to_bits(), expected.to_bits(), "{text}");
    }

    #[test]
    fn hard_numbers_round_as_the_standard_library_rounds_them() {
        for text in [
            "0",
            "-0",
            "-0.0",
            "9007199254740993",
            "9007199254740993.0",
            "9007199254740992.5",
            "9007199254740993e-3",
            "18446744073709551615",
            "18446744073709551616",
            "0.1",
            "0.30000000000000004",
            "1e22",
            "1e23",
            "8.988465674311581e307",
            "2.2250738585072011e-308",
            "5e-324",
            "2e-324",
            "1e999",
            "-1e999",
            "1e99999999999999999999999",
            "1e-99999999999999999999999",
            "0e99999999999999999999999",
            "9999999999999999999e-19",
            "1234567890123456789e-18",
            "123456789012345678901234567890.123456789012345678901234567890e-10",
            "0.000000000000000000000000000001",
        ] {
            check(text);
        }
    }

    #[test]
    fn what_is_no_number_is_refused_where_it_breaks() {
        for (text, at) in [
            ("", 0),
            ("-", 1),
            ("01", 0),
            ("-01", 1),
            ("1.", 2),
            (".5", 0),
            ("1e", 2),
            ("1e+", 3),
            ("+1", 0),
            ("-x", 1),
            ("1.e3", 2),
        ] {
            assert_eq!(scan(text.as_bytes(), 0).map(|_| ()), Err(at), "{text}");
        }
        assert!(scan_whole(b"1 ").is_none());
    }

    #[test]
    fn runs_of_digits_of_every_length_are_read() {
        for length in 0..30 {
            for behind in ["", ".", "/", ":", "\u{7f}", "ÿ", "x12345678", ",\"abcdefgh"] {
                let digits: String = "123456789".chars().cycle().take(length).collect();
                let mut mantissa = 0;
                assert_eq!(super::digits(format!("{digits}{behind}").as_bytes(), 0, &mut mantissa), length);
                let expected = digits.bytes().fold(0, |value: u64, digit| {
                    value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'))
                });
                assert_eq!(mantissa, expected, "{digits}{behind}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn every_double_reads_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            check(&format!("{value:e}"));
            check(&value.to_string());
        }

        #[test]
        fn digits_with_a_point_round_as_the_standard_library_rounds_them(
            mantissa in any::<u64>(), cut in 0_usize..20, point in 0_usize..20, negative in any::<bool>(),
        ) {
            let digits = format!("{:020}", mantissa / 10_u64.pow(u32::try_from(cut).expect("small")));
            let (whole, decimals) = digits.split_at(point);
            let whole = whole.trim_start_matches('0');
            let sign = if negative { "-" } else { "" };
            check(&format!("{sign}{}.{decimals}", if whole.is_empty() { "0" } else { whole }));
        }

        #[test]
        fn halves_between_two_doubles_round_to_even(mantissa in INTEGER_EXACT..(1 << 60), power in 1_i32..20) {
            check(&format!("{mantissa}e-{power}"));
            check(&format!("{}.5", mantissa >> 8));
        }
    }
}
