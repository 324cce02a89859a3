//! The fuzzer's way to the records that the kernel and the BPF programs write.

use super::spare::Spare;
use super::{ring_record, sideband, sideband_record};

/// Decodes a record: of the ring or, as the first byte says, of the side-band with or without build
/// IDs.
pub fn record(input: &[u8]) {
    let Some((kind, record)) = input.split_first() else { return };
    match kind {
        0 => drop(ring_record::decode(record, &mut Spare::default())),
        kind => {
            let config = (*sideband::builder(kind & 1 != 0).attrs()).into();
            let _ = sideband_record::parse(record, &config);
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus() {
        crate::corpus::replay("records", super::record);
    }
}
