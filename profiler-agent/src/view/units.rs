//! Numbers for people.

use super::text_safe;
use crate::model::conventions::value;

/// A number with commas: `1,234,567`.
pub(super) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A duration with a unit that fits: `12.3 s`, `4.56 ms`.
pub(super) fn duration(ns: u64) -> String {
    let scaled = |unit_ns: f64, unit: &str| {
        let n = ns as f64 / unit_ns;
        let digits = if n < 10.0 { 2 } else { 1 };
        format!("{n:.digits$} {unit}")
    };
    match ns {
        0 => "0".to_owned(),
        1..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => scaled(1e3, "µs"),
        1_000_000..1_000_000_000 => scaled(1e6, "ms"),
        _ => scaled(1e9, "s"),
    }
}

/// A value with its unit: times as [`duration`], the rest as it is.
pub(super) fn amount(n: u64, unit: &str) -> String {
    match unit {
        value::NANOSECONDS => duration(n),
        "microseconds" => duration(n.saturating_mul(1_000)),
        "milliseconds" => duration(n.saturating_mul(1_000_000)),
        "seconds" => duration(n.saturating_mul(1_000_000_000)),
        value::COUNT | "" => grouped(n),
        unit => format!("{} {}", grouped(n), text_safe::printable(unit)),
    }
}

/// A count of things: `1 sample`, `1,980 samples`.
pub(super) fn count(n: u64, things: &str) -> String {
    let things = if n == 1 { things.strip_suffix('s').unwrap_or(things) } else { things };
    format!("{} {things}", grouped(n))
}

/// A share of a total, in percent.
pub(super) fn percent(part: u64, total: u64) -> f64 {
    if total == 0 { 0.0 } else { 100.0 * part as f64 / total as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(duration(0), "0");
        assert_eq!(duration(999), "999 ns");
        assert_eq!(duration(1_500), "1.50 µs");
        assert_eq!(duration(12_345_678), "12.3 ms");
        assert_eq!(duration(600_000_000_000), "600.0 s");
        assert_eq!(amount(1_500, "milliseconds"), "1.50 s");
        assert_eq!(amount(1_500, "count"), "1,500");
        assert_eq!(amount(1_500, "bytes"), "1,500 bytes");
    }
}
