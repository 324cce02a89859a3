//! Symbol names for people. Only what carries the mark of a mangling is touched: the C function `a`
//! is not the type `signed char`, which is what an Itanium demangler makes of it without its `_Z`.

use std::fmt::{self, Write};

use cpp_demangle::{DemangleOptions, ParseOptions, Symbol};

use super::plt;
use super::text::{MAX_NAME, printable};

/// Depth to which the C++ demangler may nest. Its defaults are made for the main thread's stack; ours
/// is a quarter of that.
const MAX_DEPTH: u32 = 64;

/// The name for people of a symbol: `_R…` and `_ZN…17h<hash>E` as Rust, other `_Z…` as C++, everything
/// else, and what does not parse, as it is. What [`plt::SUFFIX`] marks keeps its mark.
pub(super) fn demangle(symbol: &str) -> String {
    let (symbol, mark) = match symbol.strip_suffix(plt::SUFFIX) {
        Some(function) => (function, plt::SUFFIX),
        None => (symbol, ""),
    };
    let demangled = if symbol.starts_with("_R") || is_legacy_rust(symbol) {
        rust(symbol)
    } else if symbol.starts_with("_Z") {
        cpp(symbol)
    } else {
        None
    };
    match demangled {
        Some(name) => printable((name + mark).as_bytes()),
        None => format!("{symbol}{mark}"),
    }
}

/// Legacy Rust symbols look like C++ ones, but end in a hash: `17h`, 16 hex digits, `E`, and perhaps
/// a suffix such as `.llvm.123`.
fn is_legacy_rust(symbol: &str) -> bool {
    let Some(body) = symbol.strip_prefix("_ZN") else { return false };
    body.rmatch_indices("17h").any(|(at, mark)| {
        let Some(rest) = body.get(at + mark.len()..) else { return false };
        let Some((hash, rest)) = rest.split_at_checked(16) else { return false };
        let Some(suffix) = rest.strip_prefix('E') else { return false };
        hash.bytes().all(|b| b.is_ascii_hexdigit())
            && (suffix.is_empty() || suffix.starts_with('.'))
    })
}

fn rust(symbol: &str) -> Option<String> {
    let name = rustc_demangle::try_demangle(symbol).ok()?;
    let mut out = Bounded::default();
    // The alternate form leaves the hash out.
    out.fill(format_args!("{name:#}"))
}

fn cpp(symbol: &str) -> Option<String> {
    let parse = ParseOptions::default().recursion_limit(MAX_DEPTH);
    let name = Symbol::new_with_options(symbol.as_bytes(), &parse).ok()?;
    let options = DemangleOptions::new().no_return_type().recursion_limit(MAX_DEPTH);
    let mut out = Bounded::default();
    match name.structured_demangle(&mut out, &options) {
        Ok(()) => Some(out.text),
        Err(_) => out.full.then_some(out.text),
    }
}

/// A string that refuses to grow past [`MAX_NAME`]: back references let a short mangled name stand for
/// a demangled one of gigabytes.
#[derive(Default)]
struct Bounded {
    text: String,
    full: bool,
}

impl Bounded {
    fn fill(&mut self, arguments: fmt::Arguments<'_>) -> Option<String> {
        let written = self.write_fmt(arguments);
        (written.is_ok() || self.full).then(|| std::mem::take(&mut self.text))
    }
}

impl Write for Bounded {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let room = MAX_NAME - self.text.len().min(MAX_NAME);
        if s.len() <= room {
            self.text.push_str(s);
            return Ok(());
        }
        let end = (0..=room).rev().find(|i| s.is_char_boundary(*i)).unwrap_or(0);
        self.text.push_str(s.get(..end).unwrap_or_default());
        self.full = true;
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_mangled_is_demangled() {
        for (symbol, name) in [
            // Plain names, also those that an eager demangler takes for types.
            ("a", "a"),
            ("b", "b"),
            ("main", "main"),
            ("_start", "_start"),
            ("__libc_start_main", "__libc_start_main"),
            ("_Zebra", "_Zebra"),
            ("_Z", "_Z"),
            ("_R", "_R"),
            ("_Rest_of_it", "_Rest_of_it"),
            ("runtime.mallocgc", "runtime.mallocgc"),
            ("?f@@YAXXZ", "?f@@YAXXZ"),
            // C++.
            ("_Z3foov", "foo()"),
            ("_ZN3foo3barEi", "foo::bar(int)"),
            ("_Z3maxIiET_S0_S0_", "max<int>(int, int)"),
            ("_ZN5outerC1Ev", "outer::outer()"),
            ("_ZN3foo3barEi.constprop.0", "foo::bar(int) [clone .constprop.0]"),
            // Rust, legacy and v0, without the hash.
            ("_ZN4core3fmt9Formatter3pad17h0123456789abcdefE", "core::fmt::Formatter::pad"),
            ("_ZN4core3ptr4drop17h0123456789abcdefE.llvm.42", "core::ptr::drop"),
            ("_RNvCs1234_7mycrate3foo", "mycrate::foo"),
            // Stubs.
            ("read@plt", "read@plt"),
            ("a@plt", "a@plt"),
            ("@plt", "@plt"),
            ("_ZN3foo3barEi@plt", "foo::bar(int)@plt"),
            ("_RNvCs1234_7mycrate3foo@plt", "mycrate::foo@plt"),
            ("_ZN4core3ptr4drop17h0123456789abcdefE@plt", "core::ptr::drop@plt"),
            // Nearly a Rust hash, but C++.
            ("_ZN3foo3h17h0123E", "_ZN3foo3h17h0123E"),
        ] {
            assert_eq!(demangle(symbol), name, "{symbol}");
        }
    }

    #[test]
    fn demangled_names_are_bounded() {
        // Every pair doubles the one before it.
        let mut bomb = String::from("_Z1fSt4pairIiiE");
        for i in 0..60 {
            let seq = if i == 0 { "S_".to_owned() } else { format!("S{}_", base36(i - 1)) };
            bomb.push_str(&format!("St4pairI{seq}{seq}E"));
        }
        for symbol in [bomb, format!("_Z1f{}", "P".repeat(100_000)), "_Z".repeat(50_000)] {
            let name = demangle(&symbol);
            assert!(name.len() <= MAX_NAME || name == symbol, "{} bytes", name.len());
        }
    }

    fn base36(n: usize) -> String {
        let digit = |d: usize| char::from_digit(d as u32, 36).unwrap().to_ascii_uppercase();
        if n < 36 { digit(n).to_string() } else { format!("{}{}", digit(n / 36), digit(n % 36)) }
    }
}
