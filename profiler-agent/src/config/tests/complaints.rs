//! What is wrong is told, all of it, with its place and the way out.

use super::*;

/// The complaints about a file, one text each, without the path of the directory.
fn complaints(text: &str) -> Vec<String> {
    let Err(Complaints(list)) = load(text, &[], &[]) else {
        panic!("nothing is wrong with {text}")
    };
    let text = |complaint: &complaint::Complaint| {
        let text = complaint.to_string();
        text.split_once("agent.toml").map(|(_, rest)| format!("agent.toml{rest}")).unwrap_or(text)
    };
    list.iter().map(text).collect()
}

#[test]
fn a_complaint_has_place_line_mark_and_suggestion() {
    let found = complaints("# words\n[store]\nsise = \"1 GiB\"\n").remove(0);
    expect_test::expect![[r#"
        agent.toml:3:1: there is no key store.sise; did you mean store.size?
        3 | sise = "1 GiB"
          | ^^^^"#]]
    .assert_eq(&found);
}

/// One wrong line each, with what is said of it. `SINK` stands for a sink that is right.
const WRONG: &[(&str, &str)] = &[
    // No such key.
    ("sise = 1", "there is no key sise"),
    ("[stroe]\nsize = \"1 GiB\"", "1:2: there is no key stroe; did you mean store?"),
    (
        "[window]\nlenght = \"10s\"",
        "2:1: there is no key window.lenght; did you mean window.length?",
    ),
    ("frequency = 99", "there is no key frequency; did you mean sampling.frequency?"),
    ("[sampling]\nfoo = 1", "there are event, frequency, min_block, max_blocks, without"),
    ("store.size.bytes = 1", "store.size: a table where a text with a unit belongs"),
    ("SINK\ntls.certificate = \"/c\"", "there is no key sinks.s.tls.certificate; did you mean"),
    // No section, no value.
    ("store = 1", "1:9: a number where a section belongs: [store]"),
    ("[[store]]\nsize = \"1 GiB\"", "a list where a section belongs"),
    ("[labels]\nenv = 1", "labels.env: a number where a text belongs"),
    ("[labels]\n\"a.b\" = \"x\"", "\"a.b\" cannot be a name here"),
    // Units.
    ("[window]\nlength = 10", "2:10: window.length: \"10\" has no unit; write \"10s\""),
    ("[window]\nlength = \"10\"", "window.length: \"10\" has no unit; write \"10s\""),
    ("[window]\nlength = 10.5", "window.length: a number with a fraction where a text with a unit"),
    ("[window]\nlength = \"10 MiB\"", "window.length: \"10 MiB\" is no duration"),
    ("[window]\nlength = \"1h\"", "window.length: 1h is out of range: 1s to 10m"),
    (
        "[store]\nsize = 1073741824",
        "store.size: \"1073741824\" has no unit; write \"1073741824 MiB\"",
    ),
    ("[store]\nsize = \"1 GIB\"", "did you mean \"1 GiB\"?"),
    ("[store]\nsize = \"1 MiB\"", "store.size: 1 MiB is out of range: 16 MiB to 64 TiB"),
    ("[budget]\ncpu = 1", "budget.cpu: \"1\" has no unit; write \"1%\""),
    ("[budget]\ncpu = \"0%\"", "budget.cpu: 0% is out of range"),
    // Other kinds.
    ("[sampling]\nevent = \"on_cpu\"", "\"on_cpu\" is not among \"wall\", \"on-cpu\", \"off-cpu\""),
    ("[sampling]\nfrequency = \"99\"", "a text where a whole number without unit belongs"),
    ("[sampling]\nfrequency = -1", "-1 where a whole number without unit belongs"),
    ("[sampling]\nfrequency = 0", "sampling.frequency: 0 is out of range: 1 to 10000"),
    ("[sampling]\nwithout = [\"bft\"]", "\"bft\": no such feature; there are"),
    ("[store]\nenabled = \"yes\"", "a text where true or false belongs"),
    ("[store]\npath = \"store\"", "\"store\" is no absolute path"),
    ("[store]\npath = \"\"", "to keep nothing on disk, set store.enabled = false"),
    ("[http]\nlisten = \"7070\"", "\"7070\" is no address with a port"),
    ("[select]\npids = [0]", "select.pids: 0 is out of range"),
    ("[select]\npids = 1", "a number where a list belongs"),
    (
        "[select]\ncomms = [\"a name of a thread that is too long\"]",
        "select.comms: no thread can be named",
    ),
    (
        "[exclude]\ncgroups = [\"/1\",\"/2\",\"/3\",\"/4\",\"/5\",\"/6\",\"/7\",\"/8\",\"/9\"]",
        "exclude.cgroups: 9",
    ),
    // Values that do not go together.
    ("[store]\nage = \"60s\"\n[window]\nlength = \"2m\"", "store.age: shorter than a window"),
    (
        "[http]\nlisten = \"0.0.0.0:7070\"",
        "2:10: http.listen = \"0.0.0.0:7070\" is not on this host alone",
    ),
    ("[http]\ntls.cert = \"/c\"", "http.tls.cert needs http.tls.key as well"),
    ("[http]\ntls.cert = \"/c\"\ntls.key = \"/k\"", "2:12: http.tls is set and http.listen is not"),
    ("[labels]\nservice_name = \"x\"", "labels.service_name: a label that the agent gives itself"),
    ("[labels]\n\"a-b\" = \"x\"", "labels.a-b: no name of a label"),
    ("[labels]\nenv = \"\"", "labels.env: a label's value has 1 to 2048 bytes"),
    // Sinks.
    ("[sinks.s]", "sinks.s has no type; there are pyroscope, parca, otlp, files"),
    ("[sinks.S]\ntype = \"files\"\npath = \"/f\"", "sinks.S: a sink's name has lower-case letters"),
    ("[sinks.s]\ntype = \"parka\"", "sinks.s.type: \"parka\" is not among"),
    ("[sinks.s]\ntype = \"parca\"", "sinks.s.url is needed for type parca"),
    ("[sinks.s]\ntype = \"files\"", "sinks.s.path is needed for type files"),
    (
        "[sinks.s]\ntype = \"files\"\npath = \"/f\"\nurl = \"http://h\"",
        "sinks.s.url: sinks of type files have no such key",
    ),
    ("[sinks.s]\ntype = \"parca\"\nurl = \"host:7070\"", "sinks.s.url: no URL"),
    (
        "[sinks.s]\ntype = \"parca\"\nurl = \"grpc://host\"",
        "sinks.s.url: only http:// and https://",
    ),
    (
        "[sinks.s]\ntype = \"parca\"\nurl = \"http://me:secret@host\"",
        "use username and password_file",
    ),
    (
        "[sinks.s]\ntype = \"parca\"\nurl = \"http://h\"\ntls.ca = \"/c\"",
        "sinks.s.tls.ca: no use without https://",
    ),
    ("SINK\ntls.key = \"/k\"", "sinks.s.tls.key needs sinks.s.tls.cert as well"),
    ("SINK\nusername = \"me\"", "sinks.s.username needs sinks.s.password_file as well"),
    (
        "SINK\ntoken_file = \"/t\"\nusername = \"me\"\npassword_file = \"/p\"",
        "either a token or a name and password",
    ),
    ("SINK\nheaders.\"a b\" = \"x\"", "sinks.s.headers.a b: no header that can be sent"),
    ("SINK\nlabels.comm = \"x\"", "sinks.s.labels.comm: a label that the agent gives itself"),
    // Rules.
    ("services = [1]", "services: a number where rules belong"),
    ("[[services]]\nmatch = { exe = \"x\" }", "services: a service needs a name"),
    (
        "[[services]]\nname = \"x\"\nmatches = {}",
        "a rule has no key \"matches\"; did you mean \"match\"?",
    ),
    (
        "[[services]]\nname = \"x\"\nmatch = { cmm = \"x\" }",
        "nothing to match by: \"cmm\"; did you mean \"comm\"?",
    ),
    ("[[services]]\nname = \"{unti}\"", "{unti} stands for nothing; there are"),
    ("[[services]]\nname = \"{unit\"", "a brace is not closed"),
    (
        "[[services]]\nname = \"x\"\nmatch = { label = \"app\" }",
        "\"app\" has no value; write \"KEY=GLOB\"",
    ),
    // No TOML.
    ("[store\nsize = 1", "1:7: "),
    ("a = 1\na = 2", "duplicate key"),
];

#[test]
fn each_mistake_is_told_with_the_way_out() {
    let sink = "[sinks.s]\ntype = \"parca\"\nurl = \"https://h\"";
    for (text, expected) in WRONG {
        let text = text.replace("SINK", sink);
        let found = complaints(&text);
        assert!(found.iter().any(|c| c.contains(expected)), "{text}\n-> {found:#?}");
        assert!(found.iter().all(|c| c.starts_with("agent.toml:")), "{found:#?}");
    }
}

/// One mistake has one complaint: no second one follows from it.
#[test]
fn a_mistake_is_told_once() {
    for (text, _) in WRONG {
        let text = text.replace("SINK", "[sinks.s]\ntype = \"parca\"\nurl = \"https://h\"");
        let found = complaints(&text);
        assert_eq!(found.len(), 1, "{text}\n-> {found:#?}");
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = "[store]\nsise = \"1 GiB\"\nage = 24\n[window]\nlength = \"1h\"\n[sinks.x]\ntype = \"otlp\"\n";
    let Err(Complaints(mut found)) = load(
        text,
        &[("PROFILER_AGENT__STORE__ENABELD", "true"), ("PROFILER_AGENT__BUDGET__CPU", "1")],
        &["window.length", "log.level=loud"],
    ) else {
        panic!("nothing was wrong")
    };
    let found: Vec<String> = found.drain(..).map(|complaint| complaint.message).collect();
    for expected in [
        "there is no key store.sise; did you mean store.size?",
        "store.age: \"24\" has no unit",
        "window.length: 1h is out of range",
        "sinks.x.url is needed for type otlp",
        "there is no key store.enabeld; did you mean PROFILER_AGENT__STORE__ENABLED?",
        "budget.cpu: \"1\" has no unit; write \"1%\"",
        "no value; write key=value",
        "log.level: \"loud\" is not among",
    ] {
        assert!(found.iter().any(|c| c.contains(expected)), "{expected}: {found:#?}");
    }
    assert_eq!(found.len(), 8, "{found:#?}");
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    let missing = Layers { file: Some("/nowhere/agent.toml".into()), ..Layers::default() };
    let error = Config::load(&missing).unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/agent.toml:1:1: cannot be read: No such file"), "{error}");
    let directory = Layers { file: Some("/tmp".into()), ..Layers::default() };
    assert!(Config::load(&directory).unwrap_err().to_string().contains("cannot be read"));

    let large = tempfile::NamedTempFile::new().unwrap();
    large.as_file().set_len(2 << 20).unwrap();
    let layers = Layers { file: Some(large.path().to_owned()), ..Layers::default() };
    assert!(Config::load(&layers).unwrap_err().to_string().contains("are no configuration"));
}

/// Whatever stands in a file, it is refused or taken, and nothing else.
#[test]
fn noise_is_refused_without_a_panic() {
    let whole = "[sinks.s]\ntype = \"otlp\"\nurl = \"http://h\"\n[[services]]\nname = \"{unit}\"\nmatch = { unit = \"a*\" }\n[store]\nsize = \"1 GiB\"\n[labels]\né = \"ü\"\n";
    let bytes = whole.as_bytes();
    for cut in 0..bytes.len() {
        for noise in ["", "\"", "[", "=", "{", "\n", "\u{0}", "é", "1"] {
            let (head, tail) = (bytes.get(..cut).unwrap(), bytes.get(cut + 1..).unwrap());
            let text = [head, noise.as_bytes(), tail].concat();
            if let Ok(text) = String::from_utf8(text) {
                let file = complaint::SourceFile { path: "x".into(), text };
                match file::parse(file) {
                    Ok(item) => drop(item),
                    Err(list) => list.iter().for_each(|c| drop(c.to_string())),
                }
            }
        }
    }
}
