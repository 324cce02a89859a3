//! Values with a unit, as people write them: `"10s"`, `"64 MiB"`, `"1%"`. A number without one is an
//! error, since nobody can know what it was meant in.

use std::time::Duration;

/// Units of sizes, the largest first of each kind; a value is shown in the largest that divides it.
const SIZES: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// A share of a whole, kept in millionths so that it can be compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

impl Share {
    /// The whole.
    pub const WHOLE: Self = Self(1_000_000);

    /// A share from its millionths.
    pub const fn from_millionths(millionths: u32) -> Self {
        Self(millionths)
    }

    /// The share as a number, 1.0 for the whole.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / 1e6
    }
}

/// Reads a duration: `"500ms"`, `"10s"`, `"24h"`, `"1m 30s"`.
///
/// # Errors
/// What is wrong, and how it would be right.
pub fn duration(text: &str) -> Result<Duration, String> {
    if is_number(text) {
        return Err(format!(
            "{text:?} has no unit; write \"{}s\" for seconds, or ms, m, h",
            text.trim()
        ));
    }
    humantime::parse_duration(text).map_err(|_| {
        format!("{text:?} is no duration; write \"500ms\", \"10s\", \"2m\" or \"24h\"")
    })
}

/// Shows a duration so that it reads back as the same.
pub fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match duration.subsec_nanos() {
        0 if seconds > 0 && seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        0 if seconds > 0 && seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        0 => format!("{seconds}s"),
        _ => humantime::format_duration(duration).to_string(),
    }
}

/// Reads a size in bytes: `"64 MiB"`, `"1GB"`, `"512 B"`.
///
/// # Errors
/// What is wrong, and how it would be right.
pub fn bytes(text: &str) -> Result<u64, String> {
    if is_number(text) {
        return Err(format!("{text:?} has no unit; write \"{} MiB\", or B, KiB, GiB", text.trim()));
    }
    let (number, unit) = split(text);
    let wrong = || format!("{text:?} is no size; write \"64 MiB\", \"1 GiB\" or \"500 kB\"");
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let Some((_, factor)) = SIZES.iter().find(|(name, _)| *name == unit) else {
        let nearest = SIZES
            .iter()
            .map(|(name, _)| *name)
            .min_by_key(|name| strsim::levenshtein(&name.to_lowercase(), &unit.to_lowercase()));
        return Err(format!(
            "{text:?} has an unknown unit; did you mean \"{number} {}\"?",
            nearest.unwrap_or("MiB")
        ));
    };
    let bytes = number * *factor as f64;
    // Above 2^53 a number of bytes is not exact any more, and no disk is as large.
    if !(0.0..9_007_199_254_740_992.0).contains(&bytes) {
        return Err(wrong());
    }
    Ok(bytes.round() as u64)
}

/// Shows a size so that it reads back as the same.
pub fn show_bytes(bytes: u64) -> String {
    let fits = |(_, factor): &&(&str, u64)| bytes >= *factor && bytes.is_multiple_of(*factor);
    let (unit, factor) = SIZES.iter().find(fits).unwrap_or(&("B", 1));
    format!("{} {unit}", bytes / factor)
}

/// Reads a share: `"1%"`, `"0.5 %"`.
///
/// # Errors
/// What is wrong, and how it would be right.
pub fn share(text: &str) -> Result<Share, String> {
    if is_number(text) {
        return Err(format!("{text:?} has no unit; write \"{}%\"", text.trim()));
    }
    let (number, unit) = split(text);
    match number.parse::<f64>() {
        Ok(percent) if unit == "%" && (0.0..=100.0).contains(&percent) => {
            Ok(Share((percent * 1e4).round() as u32))
        }
        _ => Err(format!("{text:?} is no share; write \"1%\" or \"0.5%\", at most \"100%\"")),
    }
}

/// Shows a share so that it reads back as the same.
pub fn show_share(share: Share) -> String {
    format!("{}%", f64::from(share.0) / 1e4)
}

fn is_number(text: &str) -> bool {
    text.trim().parse::<f64>().is_ok()
}

/// The number, and what follows it.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_back_as_they_are_shown() {
        for (text, expected, shown) in [
            ("10s", Duration::from_secs(10), "10s"),
            ("100us", Duration::from_micros(100), "100us"),
            ("1m 30s", Duration::from_secs(90), "90s"),
            ("24h", Duration::from_secs(86_400), "24h"),
            ("1day", Duration::from_secs(86_400), "24h"),
            ("1500ms", Duration::from_millis(1500), "1s 500ms"),
        ] {
            assert_eq!(duration(text), Ok(expected), "{text}");
            assert_eq!(show_duration(expected), shown);
            assert_eq!(duration(shown), Ok(expected), "{shown}");
        }
        assert_eq!(
            duration("10").unwrap_err(),
            "\"10\" has no unit; write \"10s\" for seconds, or ms, m, h"
        );
        for wrong in ["", "ten seconds", "10x", "-1s", "10 MiB"] {
            assert!(duration(wrong).unwrap_err().contains("is no duration"), "{wrong}");
        }
    }

    #[test]
    fn sizes_read_back_as_they_are_shown() {
        for (text, expected, shown) in [
            ("64 MiB", 64 << 20, "64 MiB"),
            ("64MiB", 64 << 20, "64 MiB"),
            ("1.5 GiB", 3 << 29, "1536 MiB"),
            ("500 kB", 500_000, "500 kB"),
            ("1 GB", 1_000_000_000, "1 GB"),
            ("0 B", 0, "0 B"),
            ("7 B", 7, "7 B"),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
            assert_eq!(show_bytes(expected), shown);
            assert_eq!(bytes(shown), Ok(expected), "{shown}");
        }
        for (wrong, said) in [
            ("64", "has no unit; write \"64 MiB\""),
            ("64 Mib", "did you mean \"64 MiB\"?"),
            ("64 mb", "did you mean \"64 MB\"?"),
            ("64 G", "did you mean \"64 GB\"?"),
            ("", "is no size"),
            ("MiB", "is no size"),
            ("1.2.3 MiB", "is no size"),
            ("-1 MiB", "is no size"),
            ("999999999 TiB", "is no size"),
        ] {
            let error = bytes(wrong).unwrap_err();
            assert!(error.contains(said), "{wrong}: {error}");
        }
    }

    #[test]
    fn shares_read_back_as_they_are_shown() {
        for (text, expected, shown) in [
            ("1%", Share(10_000), "1%"),
            ("0.5 %", Share(5_000), "0.5%"),
            ("100%", Share::WHOLE, "100%"),
        ] {
            assert_eq!(share(text), Ok(expected), "{text}");
            assert_eq!(show_share(expected), shown);
        }
        assert!((Share(10_000).fraction() - 0.01).abs() < 1e-12);
        for wrong in ["0.01", "1", "101%", "-1%", "one%", "1 s"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
        assert_eq!(share("1").unwrap_err(), "\"1\" has no unit; write \"1%\"");
    }
}
