//! Whether an SVG is well-formed, and runs only its own script.

use quick_xml::Reader;
use quick_xml::events::Event;

/// What may be in a flame graph; anything else came from outside.
const ELEMENTS: &[&str] = &[
    "svg",
    "defs",
    "linearGradient",
    "stop",
    "style",
    "script",
    "rect",
    "text",
    "g",
    "title",
    "a",
];

/// Fails unless the text is one XML document of the elements that a flame graph has, with one script.
#[track_caller]
pub fn assert_valid_and_safe(svg: &str) {
    let mut reader = Reader::from_str(svg);
    reader.config_mut().check_end_names = true;
    let mut depth = 0_i32;
    let mut scripts = 0;
    loop {
        let event = reader.read_event();
        let at = reader.buffer_position();
        match event.unwrap_or_else(|error| panic!("not XML at byte {at}: {error}")) {
            Event::Eof => break,
            Event::Start(element) => {
                depth += 1;
                scripts += i32::from(check_element(&element));
            }
            Event::Empty(element) => scripts += i32::from(check_element(&element)),
            Event::End(_) => depth -= 1,
            Event::Text(text) => {
                text.decode().unwrap_or_else(|error| panic!("bad text at byte {at}: {error}"));
            }
            _ => {}
        }
    }
    assert_eq!(depth, 0, "elements are left open");
    assert_eq!(scripts, 1, "only the flame graph's own script may be there");
    // XML 1.0 knows no other control characters, not even escaped.
    let stray = svg.chars().find(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r'));
    assert_eq!(stray, None, "a control character is in the SVG");
}

/// Checks one element and its attributes; says whether it is a script.
fn check_element(element: &quick_xml::events::BytesStart<'_>) -> bool {
    let name = String::from_utf8_lossy(element.name().as_ref()).into_owned();
    assert!(ELEMENTS.contains(&name.as_str()), "a flame graph has no <{name}>");
    for attribute in element.attributes() {
        let attribute = attribute.unwrap_or_else(|error| panic!("in <{name}>: {error}"));
        let key = String::from_utf8_lossy(attribute.key.as_ref()).into_owned();
        assert!(!key.starts_with("on") || key == "onload", "<{name}> has a handler {key}");
    }
    name == "script"
}
