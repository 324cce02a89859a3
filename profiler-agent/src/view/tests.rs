//! What each view shows of a small profile, and of strange ones.

use expect_test::{Expect, expect};

use super::testing::Builder;
use super::*;

const WEB: testing::Owner<'_> = ("web", 7, "web", 7, "");
const WORKER: testing::Owner<'_> = ("web", 7, "worker", 8, "");

/// Two threads of one process and a database, on the CPU and blocked.
fn wall() -> Profile {
    let read = ["[kernel.kallsyms]|do_read", "/bin/web|read_all", "/bin/web|main"];
    let parse = ["/bin/web|next←parse", "[jit]|Handler.run", "/bin/web|main"];
    Builder::wall()
        .sample(WEB, &parse, &[300, 3_000_000_000, 0, 0])
        .sample(WORKER, &parse, &[100, 1_000_000_000, 0, 0])
        .sample(("web", 7, "web", 7, "sleeping"), &read, &[0, 0, 40, 4_000_000_000])
        .sample(("web", 7, "worker", 8, "runnable"), &parse, &[0, 0, 9, 500_000_000])
        .sample(
            ("db", 9, "db", 9, "uninterruptible"),
            &[
                "[kernel.kallsyms]|do_read",
                "/bin/db|[db+0x1234]",
                "[profiler-agent]|[truncated: no frame pointer]",
            ],
            &[0, 0, 1, 1_500_000_000],
        )
        .comment("host: web-1")
        .comment("scope: whole host")
        .comment("event: wall")
        .comment("frequency: 99 Hz")
        .comment("count.samples_lost_ring_full: 2")
        .comment("count.filtered: 17")
        .comment("note: no kernel names")
        .build()
}

fn render_text(format: Format, profile: &Profile, options: &Options) -> String {
    let mut output = Vec::new();
    render(format, profile, options, &mut output).unwrap();
    String::from_utf8(output).unwrap()
}

fn check(format: Format, profile: &Profile, options: &Options, expected: Expect) {
    expected.assert_eq(&render_text(format, profile, options));
}

#[test]
fn both_kinds_of_time_stand_side_by_side_under_each_thread() {
    check(
        Format::Folded,
        &wall(),
        &Options::default(),
        expect![[r#"
        db (pid 9);db (tid 9);blocked (uninterruptible);[truncated: no frame pointer];[db+0x1234];do_read 1500000000
        web (pid 7);web (tid 7);blocked (sleeping);main;read_all;do_read 4000000000
        web (pid 7);web (tid 7);on CPU;main;Handler.run;parse;next 3000000000
        web (pid 7);worker (tid 8);on CPU;main;Handler.run;parse;next 1000000000
        web (pid 7);worker (tid 8);waiting for a CPU (runnable);main;Handler.run;parse;next 500000000
    "#]],
    );
}

#[test]
fn the_root_is_chosen() {
    let on_cpu = |root| Options { root: Some(root), time: Some(Time::OnCpu), ..Options::default() };
    check(
        Format::Folded,
        &wall(),
        &on_cpu(Root::Host),
        expect![[r#"
        web;main;Handler.run;parse;next 4000000000
    "#]],
    );
    check(
        Format::Folded,
        &wall(),
        &on_cpu(Root::Process),
        expect![[r#"
        web (pid 7);main;Handler.run;parse;next 4000000000
    "#]],
    );
    check(
        Format::Folded,
        &wall(),
        &on_cpu(Root::Thread),
        expect![[r#"
        web (pid 7);web (tid 7);main;Handler.run;parse;next 3000000000
        web (pid 7);worker (tid 8);main;Handler.run;parse;next 1000000000
    "#]],
    );
    let host = Options { root: Some(Root::Host), ..Options::default() };
    check(
        Format::Folded,
        &wall(),
        &host,
        expect![[r#"
        blocked (sleeping);web;main;read_all;do_read 4000000000
        blocked (uninterruptible);db;[truncated: no frame pointer];[db+0x1234];do_read 1500000000
        on CPU;web;main;Handler.run;parse;next 4000000000
        waiting for a CPU (runnable);web;main;Handler.run;parse;next 500000000
    "#]],
    );
}

#[test]
fn one_process_is_chosen() {
    let options = Options { pid: Some(9), ..Options::default() };
    check(
        Format::Folded,
        &wall(),
        &options,
        expect![[r#"
        db (pid 9);db (tid 9);blocked (uninterruptible);[truncated: no frame pointer];[db+0x1234];do_read 1500000000
    "#]],
    );
}

#[test]
fn the_table_has_own_and_cumulative_time_of_each_kind() {
    check(
        Format::Text,
        &wall(),
        &Options { top: 4, ..Options::default() },
        expect![[r#"
            whole host web-1, 10.0 s, on CPU at 99 Hz: 400 samples, 2 lost
            4.00 s of CPU time, 0.0 % of it in cut stacks
                  flat  flat%   sum%         cum   cum%  function
                4.00 s 100.0% 100.0%      4.00 s 100.0%  next  web
                     0   0.0% 100.0%      4.00 s 100.0%  Handler.run  [jit]
                     0   0.0% 100.0%      4.00 s 100.0%  main  web
                     0   0.0% 100.0%      4.00 s 100.0%  parse  web

            whole host web-1, 10.0 s, off CPU: 50 blocks, 2 lost
            6.00 s of time off the CPU, 25.0 % of it in cut stacks
                  flat  flat%   sum%         cum   cum%  function
                4.00 s  66.7%  66.7%      4.00 s  66.7%  read_all  web
                1.50 s  25.0%  91.7%      1.50 s  25.0%  [db+0x1234]
              500.0 ms   8.3% 100.0%    500.0 ms   8.3%  next  web
                     0   0.0% 100.0%      5.50 s  91.7%  do_read  [kernel.kallsyms]
            and 4 more functions

            samples_lost_ring_full: 2
            filtered: 17
            note: no kernel names
        "#]],
    );
}

#[test]
fn a_recursive_function_is_counted_once() {
    let recursive = ["/bin/a|f", "/bin/a|f", "/bin/a|main"];
    let profile = Builder::on_cpu().sample(WEB, &recursive, &[1, 10]).build();
    check(
        Format::Text,
        &profile,
        &Options::default(),
        expect![[r#"
            10.0 s, on CPU: 1 sample
            10 ns of CPU time, 0.0 % of it in cut stacks
                  flat  flat%   sum%         cum   cum%  function
                 10 ns 100.0% 100.0%       10 ns 100.0%  f  a
                     0   0.0% 100.0%       10 ns 100.0%  main  a
        "#]],
    );
}

#[test]
fn the_hottest_functions_are_told() {
    let hot = hottest(&wall(), &Options { top: 1, ..Options::default() }).unwrap();
    assert_eq!(hot, [Hot { function: "next  web".into(), permille: 1000 }]);
}

#[test]
fn a_profile_of_another_tool_shows_its_default_type() {
    let owner = ("", 0, "", 0, "");
    let profile = Builder::new(&[("alloc_objects", "count"), ("alloc_space", "bytes")])
        .sample(owner, &["/bin/a|grow", "/bin/a|main"], &[3, 4096])
        .build();
    check(
        Format::Folded,
        &profile,
        &Options::default(),
        expect![[r#"
        main;grow 4096
    "#]],
    );
    check(
        Format::Text,
        &profile,
        &Options::default(),
        expect![[r#"
        10.0 s, alloc_space: 3 alloc_objects
        4,096 bytes of alloc_space, 0.0 % of it in cut stacks
              flat  flat%   sum%         cum   cum%  function
        4,096 bytes 100.0% 100.0%  4,096 bytes 100.0%  grow  a
           0 bytes   0.0% 100.0%  4,096 bytes 100.0%  main  a
    "#]],
    );
    let options = Options { time: Some(Time::OffCpu), ..Options::default() };
    let error = render(Format::Text, &profile, &options, &mut Vec::new()).unwrap_err();
    expect!["the profile has no off-CPU time; it has alloc_objects/count, alloc_space/bytes"]
        .assert_eq(&error.to_string());
}

#[test]
fn a_broken_profile_does_no_harm() {
    let mut profile = wall();
    profile.sample[0].location_id = vec![999, 0, 1];
    profile.sample[1].value = vec![-5];
    profile.sample[2].location_id.clear();
    profile.location[0].line[0].function_id = 77;
    profile.location[1].mapping_id = 77;
    profile.function[1].name = -3;
    profile.comment.push(1 << 40);
    for format in [Format::Svg, Format::Folded, Format::Text, Format::Pprof] {
        render(format, &profile, &Options::default(), &mut Vec::new()).unwrap();
    }
    let empty = Profile::default();
    let error = render(Format::Svg, &empty, &Options::default(), &mut Vec::new()).unwrap_err();
    assert!(matches!(error, ViewError::NoSampleTypes));
}

#[test]
fn formats_are_known_by_name_and_by_ending() {
    for (path, format) in [
        ("flame.svg", Some(Format::Svg)),
        ("/tmp/a.pb.gz", Some(Format::Pprof)),
        ("a.pprof", Some(Format::Pprof)),
        ("a.folded", Some(Format::Folded)),
        ("a.txt", Some(Format::Text)),
        ("a.gz", None),
        ("svg", None),
        ("..", None),
    ] {
        assert_eq!(Format::from_path(Path::new(path)), format, "{path}");
    }
    for view in VIEWS {
        assert_eq!(Format::from_name(view.name), Some(view.format));
        assert_eq!(view.format.name(), view.name);
    }
    assert_eq!(Format::from_name("png"), None);
}

/// Parses a picture as XML, strictly; returns its texts.
fn parse_xml(svg: &str) -> Vec<String> {
    let mut reader = quick_xml::Reader::from_str(svg);
    reader.config_mut().check_comments = true;
    let mut texts = Vec::new();
    let mut depth = 0;
    loop {
        match reader.read_event().unwrap() {
            quick_xml::events::Event::Start(start) => {
                depth += 1;
                start.attributes().for_each(|a| drop(a.unwrap()));
            }
            quick_xml::events::Event::End(_) => depth -= 1,
            quick_xml::events::Event::Text(text) => texts.push(text.decode().unwrap().into_owned()),
            quick_xml::events::Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(depth, 0);
    let allowed = |c: char| !c.is_control() || c == '\n' || c == '\t';
    assert!(svg.chars().all(allowed), "a control character reached the picture");
    texts
}

#[test]
fn the_picture_has_title_legend_and_one_box_per_frame() {
    let svg = render_text(Format::Svg, &wall(), &Options::default());
    let texts = parse_xml(&svg);
    let title = "profiler-agent: whole host web-1, 10.0 s, on CPU at 99 Hz and off CPU: \
                 400 samples, 50 blocks, 2 lost";
    for text in [
        title,
        "runtime, JIT",
        "15.0 % of it in cut stacks; boxes under 0.01 % are left out",
        "web (pid 7) (8,500 ms, 85.00%)",
        "blocked (sleeping) (4,000 ms, 40.00%)",
        "on CPU (3,000 ms, 30.00%)",
        "waiting for a CPU (runnable) (500 ms, 5.00%)",
        "Handler.run (3,000 ms, 30.00%)",
    ] {
        assert!(texts.iter().any(|t| t == text), "{text} is not in {texts:#?}");
    }
    assert_eq!(svg, render_text(Format::Svg, &wall(), &Options::default()), "not reproducible");
}

#[test]
fn a_picture_of_very_many_stacks_stays_small_enough_to_open() {
    let mut builder = Builder::on_cpu();
    for n in 0..2_500 {
        let function = format!("/bin/a|{n}:{}", "long ".repeat(100));
        builder = builder.sample(WEB, &[function.as_str(); 4], &[1, 1_000]);
    }
    let svg = render_text(Format::Svg, &builder.build(), &Options::default());
    assert!(svg.len() < 1 << 20, "{} bytes", svg.len());
    let texts = parse_xml(&svg);
    let has = |end: &str| texts.iter().any(|t| t.ends_with(end));
    assert!(has("boxes under 0.1 % are left out"));
    assert!(has("web (2,500,000 ns, 100.00%)"), "what is left out counts below");
}

#[test]
fn hostile_names_give_a_right_and_safe_picture() {
    let long = "x".repeat(10_000);
    let names = [
        "</title><script>alert(1)</script>",
        "a;b;c 12 34",
        "ends in a number 7",
        "line\nbreak\r\n\tand \x1b[31mescape\0",
        "]]> & &amp; \"quotes\" '",
        "\u{202e}txt.exe",
        "--",
        "-",
        "# comment",
        "fake_[k]",
        "_[é]",
        "\u{fffe}\u{ffff}\u{7f}",
        "   ",
        &long,
    ];
    let mut builder = Builder::on_cpu();
    for (n, name) in names.iter().enumerate() {
        let frame = format!("/bin/{}|{name}", name.replace('|', ""));
        let pid = n as i64 + 1;
        // Each at the leaf, at the root and as the name of a process.
        builder = builder
            .sample((name, pid, name, pid, ""), &[&frame, "/bin/a|main"], &[1, 1_000])
            .sample((name, pid, "", 0, ""), &["/bin/a|leaf", &frame], &[1, 1_000]);
    }
    let profile = builder.build();
    for root in [Root::Host, Root::Process, Root::Thread] {
        let options = Options { root: Some(root), ..Options::default() };
        let svg = render_text(Format::Svg, &profile, &options);
        let texts = parse_xml(&svg);
        assert!(!svg.contains("<script>alert"));
        let all = format!("all ({} ns, 100%)", 2_000 * names.len());
        assert!(texts.contains(&all.replace("28000", "28,000")), "a stack is missing: {texts:#?}");
        let folded = render_text(Format::Folded, &profile, &options);
        let sum: u64 =
            folded.lines().map(|l| l.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum();
        assert_eq!(sum, 2_000 * names.len() as u64);
        assert!(folded.contains(&long), "folded text keeps names whole");
    }
    let table = render_text(Format::Text, &profile, &Options { top: 100, ..Options::default() });
    assert!(table.chars().all(|c| !c.is_control() || c == '\n'));
}

#[test]
fn hostile_types_and_comments_are_harmless() {
    let profile = Builder::new(&[("n\x1b[2J", "count"), ("t\x1b]0;x\x07", "u\r\n</svg>")])
        .sample(WEB, &["/bin/a|f"], &[1, 2])
        .comment("host: h\x1b[2J<b>")
        .comment("scope: s\n")
        .comment("note: \x1b[2J")
        .comment("count.\x1b[2J_lost: 3")
        .build();
    parse_xml(&render_text(Format::Svg, &profile, &Options::default()));
    let table = render_text(Format::Text, &profile, &Options::default());
    assert!(table.chars().all(|c| !c.is_control() || c == '\n'), "{table:?}");
}

#[test]
fn a_profile_without_samples_says_so() {
    let profile =
        Builder::on_cpu().comment("host: <web> & co").comment("scope: whole host").build();
    let texts = parse_xml(&render_text(Format::Svg, &profile, &Options::default()));
    assert!(texts.iter().any(|t| t.starts_with("Nothing was recorded")), "{texts:?}");
    check(Format::Folded, &profile, &Options::default(), expect![[""]]);
    check(
        Format::Text,
        &profile,
        &Options::default(),
        expect![[r#"
        whole host <web> & co, 10.0 s, on CPU: 0 samples
        nothing was recorded
    "#]],
    );
}

#[test]
fn colour_is_only_for_terminals() {
    let plain = render_text(Format::Text, &wall(), &Options::default());
    let colored =
        render_text(Format::Text, &wall(), &Options { color: true, ..Options::default() });
    assert!(!plain.contains('\x1b'));
    assert_eq!(colored.replace("\x1b[1m", "").replace("\x1b[2m", "").replace("\x1b[0m", ""), plain);
}
