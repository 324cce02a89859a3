//! The table as text, for pipes and files.

use std::io::{self, Write as _};

use super::table::{self, FUNCTION_TITLES, Row, SERVICE_TITLES, Sort, WIDTH};
use crate::model::hottest::Hottest;

/// Rows of each kind.
const MOST: usize = 20;

/// Prints a table. `false` where nobody reads any more, which is no error.
pub(super) fn print(top: &Hottest, sort: Sort) -> anyhow::Result<bool> {
    let mut output = io::stdout().lock();
    let written = output.write_all(text(top, sort).as_bytes()).and_then(|()| output.flush());
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The whole table.
fn text(top: &Hottest, sort: Sort) -> String {
    let mut text = table::header(top) + "\n";
    text.extend(table::losses(top).map(|losses| losses + "\n"));
    text.push('\n');
    lines(&mut text, &SERVICE_TITLES, "service", &table::services(top, sort, MOST));
    text.push('\n');
    lines(&mut text, &FUNCTION_TITLES, "function", &table::functions(top, sort, MOST));
    text
}

fn lines(text: &mut String, titles: &[&str], name: &str, rows: &[Row]) {
    let titles = Row {
        columns: titles.iter().map(|title| (*title).to_owned()).collect(),
        name: name.to_owned(),
    };
    for row in std::iter::once(&titles).chain(rows) {
        for column in &row.columns {
            text.push_str(&format!("{column:>WIDTH$} "));
        }
        text.push_str(&format!(" {}\n", row.name));
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::super::table::tests::sample;
    use super::*;

    #[test]
    fn a_table_is_for_reading() {
        let mut top = sample();
        top.losses = vec![("samples_lost_ring_full".to_owned(), 3)];
        expect![[r#"
            2.0 s   on CPU: 0.75 of 8 CPUs   off CPU: 150.1 threads wait
            lost: samples_lost_ring_full 3

                CPUs  waiting  service
                0.75     0.10  redis
                   .      150  idle

                CPUs  +called  waiting  +called  function
                0.45     0.70        .        .  dictFind  redis-server
               <0.01    <0.01      125      125  epoll_wait  libc.so.6
        "#]]
        .assert_eq(&text(&top, Sort::OnCpu));
    }
}
