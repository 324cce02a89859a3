//! The fuzzer's way to perf maps.

use std::io::Write as _;
use std::sync::Arc;

use super::perf_map;
use super::text::MAX_NAME;
use super::wanted::Wanted;

/// Looks the first eight addresses of the input up in the perf map that the rest is.
pub fn perf_map(input: &[u8]) {
    let (addresses, map) = input.split_at(input.len().min(64));
    let (addresses, _) = addresses.as_chunks();
    let addresses = addresses.iter().map(|address| u64::from_le_bytes(*address)).collect();
    let Ok(mut file) = tempfile::tempfile() else { return };
    if file.write_all(map).is_err() {
        return;
    }
    let mut wanted = Wanted::new(addresses);
    let Ok(found) = perf_map::read(&Arc::new(file), &mut wanted) else { return };
    assert_eq!(found.names.len(), wanted.addresses().len());
    let mut names = found.names.iter().flatten();
    assert!(names.all(|name| name.len() <= MAX_NAME && !name.contains(char::is_control)));
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus() {
        crate::corpus::replay("perf_map", super::perf_map);
    }
}
