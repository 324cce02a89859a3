//! Every file says what it is for, and is small.

use super::Problem;
use super::source::Source;

/// Lines before the tests; a file that grows past it has two purposes.
const BUDGET: usize = 400;

/// A file opens with `//!`.
pub fn opens_with_its_purpose(source: &Source) -> Vec<Problem> {
    let first = source.lines.first().map_or("", String::as_str);
    if first.starts_with("//! ") {
        return Vec::new();
    }
    vec![Problem::new(source, 1, "opens without `//!`: say in a line what the file is for")]
}

/// A file is within the budget.
pub fn is_within_the_budget(source: &Source) -> Vec<Problem> {
    let lines = source.lines_before_tests();
    if lines <= BUDGET || source.is_test() {
        return Vec::new();
    }
    vec![Problem::new(
        source,
        BUDGET,
        format!("{lines} lines before its tests, {BUDGET} are the budget: split it"),
    )]
}

/// What is not finished is not committed.
pub fn is_finished(source: &Source) -> Vec<Problem> {
    const MACROS: &[&str] = &["todo!", "unimplemented!", "dbg!"];
    const MARKS: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let mut problems = Vec::new();
    for (index, (line, code)) in source.lines.iter().zip(&source.code).enumerate() {
        let unfinished = MACROS.iter().find(|name| code.contains(**name));
        let marked = MARKS.iter().find(|mark| super::source::has_word(line, mark));
        if let Some(found) = unfinished.or(marked) {
            problems.push(Problem::new(
                source,
                index + 1,
                format!("{found}: finish it or open an issue"),
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::super::check_sample;
    use super::*;

    #[test]
    fn a_purpose_is_asked_for() {
        assert_eq!(check_sample(opens_with_its_purpose, "x.rs", "//! Reads x.\n"), [0; 0]);
        assert_eq!(check_sample(opens_with_its_purpose, "x.rs", "use x;\n"), [1]);
    }

    #[test]
    fn a_long_file_is_refused_but_not_for_its_tests() {
        let long = "fn x() {}\n".repeat(BUDGET + 1);
        assert_eq!(check_sample(is_within_the_budget, "x.rs", &long), [BUDGET]);
        assert_eq!(check_sample(is_within_the_budget, "x/tests.rs", &long), [0; 0]);
        let tested = format!("fn x() {{}}\n#[cfg(test)]\nmod tests {{\n{long}}}\n");
        assert_eq!(check_sample(is_within_the_budget, "x.rs", &tested), [0; 0]);
    }

    #[test]
    fn unfinished_code_is_refused() {
        let text = format!("fn f() {{\n    {}!()\n}}\n// {}: later\n", "todo", concat!("TO", "DO"));
        assert_eq!(check_sample(is_finished, "x.rs", &text), [2, 4]);
        assert_eq!(
            check_sample(is_finished, "x.rs", "// The word todo alone is a word.\n"),
            [0; 0]
        );
    }
}
