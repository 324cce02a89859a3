//! Folded text: a line per stack, root first, frames parted by `;`, then a space and the value. Times
//! are nanoseconds. This is what flame graph tools read.

use std::io::Write;

use profiler_proto::pprof::Profile;

use super::reader::Reader;
use super::{Options, ViewError, measure, stacks};

pub(super) fn draw(
    profile: &Profile,
    options: &Options,
    output: &mut dyn Write,
) -> Result<(), ViewError> {
    let reader = Reader::new(profile);
    let measures = measure::pick(&reader, options.time)?;
    for (stack, value) in stacks::fold(&reader, &measures, options).sorted() {
        let mut separator = "";
        for cell in stack {
            write!(output, "{separator}{}", cell.text)?;
            separator = ";";
        }
        writeln!(output, " {value}")?;
    }
    Ok(())
}
