//! The paths that real runtimes make, and such as only look like them.

use super::super::status::Cgroup;
use super::*;

const LAYOUTS: &str = include_str!("layouts.txt");

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const OUTER: &str = "89abcdef0123456789abcdef0123456789abcdef0123456789abcdef01234567";
const MONITOR: &str = "76543210fedcba9876543210fedcba9876543210fedcba9876543210fedcba98";
const POD: &str = "7e1c6c8a-3b0f-4c1d-9a55-0f2d6a3c9b41";

/// The text with its placeholders filled.
fn filled(text: &str) -> String {
    let underscores = POD.replace('-', "_");
    let places = [("MONITOR", MONITOR), ("OUTER", OUTER), ("POD_", &underscores), ("POD", POD)];
    let text = places.iter().fold(text.to_owned(), |text, (place, with)| text.replace(place, with));
    text.replace("ID", ID)
}

#[test]
fn real_layouts() {
    let blocks = LAYOUTS.split("\n\n").filter(|block| block.starts_with(':'));
    let mut count = 0;
    for block in blocks {
        let (layout, rest) = block.split_once('\n').unwrap();
        let (file, want) = rest.rsplit_once("=").unwrap();
        let cgroup = Cgroup::parse(filled(file).as_bytes()).unwrap();
        let want = filled(want);
        let want = want.split_whitespace().next().map(|id| Container { id });
        assert_eq!(Container::of(&cgroup.path), want, "{layout}");
        count += 1;
    }
    assert!(count >= 50, "{count}");
}

#[test]
fn what_only_looks_like_one() {
    for path in [
        "",
        "/",
        "//..//",
        "/podpod",
        "/lxc",
        "/lxc.payload.",
        "/machine-.scope",
        "/systemd-nspawn@.service",
        "/.scope",
        &format!("/{}", &ID[1..]),
        &format!("/{ID}0"),
        &format!("/x-{}g.scope", &ID[1..]),
        "/0123456789abcdef0123456789abcdef-",
        "/0123456789abcdef0123456789abcdef-x",
    ] {
        assert_eq!(Container::of(path), None, "{path}");
    }
}

#[test]
fn short_as_people_write_it() {
    let short = |id| Container { id }.short();
    assert_eq!((short(ID), short("web"), short("é")), ("0123456789ab", "web", "é"));
}
