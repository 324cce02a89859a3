//! The corpora of the fuzz targets that need nothing but the library's public side, as ordinary tests.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test")]

#[path = "../../tests/fuzz/bodies/mod.rs"]
mod bodies;
#[path = "rows/check.rs"]
#[allow(dead_code, reason = "it can do more than is needed here")]
mod check;
#[path = "../src/corpus.rs"]
mod corpus;
#[path = "../src/runtime/native/tests/image.rs"]
#[allow(dead_code, reason = "it can do more than is needed here")]
mod image;
#[path = "rows/reference.rs"]
mod reference;

#[test]
fn tables() {
    corpus::replay("tables", bodies::tables::run);
}

#[test]
fn rows() {
    corpus::replay("rows", bodies::rows::run);
}

#[test]
fn walk() {
    corpus::replay("walk", bodies::walk::run);
}
