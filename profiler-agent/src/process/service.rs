//! Which service a process belongs to: by rules, in their order, and where none holds by what the host
//! itself says: its container, its unit of systemd, its executable.

use std::sync::Arc;

use super::container::Container;
use super::text::printable;

/// Longest name of a service, in characters.
const MAX_NAME: usize = 200;

/// The service of threads of the kernel.
const KERNEL: &str = "[kernel]";

/// Rules in the order in which they are asked. Without any, the default holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The first that holds names the service.
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// The name that it gives: text with placeholders, `{container}`, `{unit}`, `{exe}`, `{comm}`. Where
    /// one of them is empty for a process, the rule does not hold.
    pub name: String,
    /// For which processes.
    pub matches: Match,
}

/// What a process must be. Every pattern that is given must fit, the whole text: `*` stands for any
/// text, `?` for any character.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// Pattern of its container's id (64 hex digits) or name.
    pub container: Option<String>,
    /// Pattern of its systemd unit, with its suffix: `postgresql*.service`.
    pub unit: Option<String>,
    /// Pattern of the file name of its executable.
    pub exe: Option<String>,
    /// Pattern of its name.
    pub comm: Option<String>,
    /// A label of its samples, `comm` or `cgroup`, and the pattern of its value.
    pub labels: Vec<(String, String)>,
}

/// A rule that can never hold, or whose name cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// No name.
    #[error("a service needs a name")]
    NoName,
    /// A placeholder that there is not.
    #[error("{{{0}}} stands for nothing; there are {{container}}, {{unit}}, {{exe}} and {{comm}}")]
    Placeholder(String),
    /// A brace without its other half.
    #[error("a brace is not closed in {0:?}")]
    Brace(String),
    /// A label that processes have not.
    #[error("processes have no label {0:?} to match by; there are comm and cgroup")]
    Label(String),
}

/// What is known of a process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    /// Path of its cgroup.
    pub(super) cgroup: &'a str,
    /// File name of its executable; empty where unknown.
    pub(super) exe: &'a str,
    /// Its name.
    pub(super) comm: &'a str,
    /// It is a thread of the kernel.
    pub(super) is_kernel: bool,
}

impl Rule {
    /// Checks what can be checked without a process.
    ///
    /// # Errors
    /// Say what stands for nothing, and what there is.
    pub fn check(&self) -> Result<(), RuleError> {
        let known = ["comm", "cgroup"];
        let strange = self.matches.labels.iter().find(|(key, _)| !known.contains(&key.as_str()));
        if let Some((key, _)) = strange {
            return Err(RuleError::Label(key.clone()));
        }
        if self.name.trim().is_empty() {
            return Err(RuleError::NoName);
        }
        let value = |placeholder: &str| Place::of(placeholder).map(|_| "x");
        fill(&self.name, value).map(drop)
    }
}

impl Rules {
    /// The service of a process; never empty unless all that is known is.
    pub(super) fn service(&self, facts: Facts<'_>) -> Arc<str> {
        let place = Place::all(facts);
        let by_rule = self.rules.iter().find_map(|rule| rule.name_for(facts, &place));
        let name = by_rule.unwrap_or_else(|| place.default(facts).to_owned());
        printable(name.as_bytes()).chars().take(MAX_NAME).collect::<String>().into()
    }
}

impl Rule {
    fn name_for(&self, facts: Facts<'_>, place: &Place<'_>) -> Option<String> {
        let Match { container, unit, exe, comm, labels } = &self.matches;
        let wanted = [
            (container, place.container),
            (unit, place.unit),
            (exe, facts.exe),
            (comm, facts.comm),
        ];
        let fits = wanted.iter().all(|(pattern, text)| {
            pattern.as_ref().is_none_or(|pattern| !text.is_empty() && matches(pattern, text))
        });
        let labelled = labels.iter().all(|(key, pattern)| match key.as_str() {
            "comm" => matches(pattern, facts.comm),
            "cgroup" => matches(pattern, facts.cgroup),
            _ => false,
        });
        if !fits || !labelled {
            return None;
        }
        let value = |name: &str| place.value(name, facts).filter(|value| !value.is_empty());
        fill(&self.name, value).ok().filter(|name| !name.is_empty())
    }
}

/// Where a process runs, as its cgroup tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place<'a> {
    /// The id of its container; empty where it is in none.
    container: &'a str,
    /// The same as people write it.
    short: &'a str,
    /// Its systemd unit, `x.service`; empty where it is in none.
    unit: &'a str,
}

impl<'a> Place<'a> {
    /// What a placeholder is called; `None` for an unknown one.
    fn of(placeholder: &str) -> Option<()> {
        ["container", "unit", "exe", "comm"].contains(&placeholder).then_some(())
    }

    fn all(facts: Facts<'a>) -> Self {
        let container = Container::of(facts.cgroup);
        let mut parts = facts.cgroup.rsplit('/');
        Self {
            container: container.as_ref().map_or("", |container| container.id),
            short: container.as_ref().map_or("", Container::short),
            unit: parts.find(|part| part.ends_with(".service")).unwrap_or_default(),
        }
    }

    fn value(&self, placeholder: &str, facts: Facts<'a>) -> Option<&'a str> {
        match placeholder {
            "container" => Some(self.short),
            "unit" => Some(self.unit.strip_suffix(".service").unwrap_or(self.unit)),
            "exe" => Some(facts.exe),
            "comm" => Some(facts.comm),
            _ => None,
        }
    }

    /// The first of all that is known. Scopes of sessions are no service: what runs there is named by
    /// its executable.
    fn default(&self, facts: Facts<'a>) -> &'a str {
        if facts.is_kernel {
            return KERNEL;
        }
        let values = ["container", "unit", "exe", "comm"].map(|name| self.value(name, facts));
        values.into_iter().flatten().find(|value| !value.is_empty()).unwrap_or_default()
    }
}

/// The template with its placeholders filled.
fn fill<'a>(template: &str, value: impl Fn(&str) -> Option<&'a str>) -> Result<String, RuleError> {
    let unclosed = || RuleError::Brace(template.to_owned());
    let mut filled = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or_else(unclosed)?;
        filled.push_str(before);
        filled.push_str(value(name).ok_or_else(|| RuleError::Placeholder(name.to_owned()))?);
        rest = after;
    }
    if rest.contains('}') {
        return Err(unclosed());
    }
    filled.push_str(rest);
    Ok(filled)
}

/// Whether a pattern fits the whole text. Takes time in proportion to their product at most.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where the last `*` stands, and how far into the text it reaches.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(b) if *b == b'?' || text.get(t) == Some(b) => (p, t) = (p + 1, t + 1),
            _ => match &mut star {
                Some((at, reach)) => {
                    *reach += 1;
                    (p, t) = (*at + 1, *reach);
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|b| *b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn facts<'a>(cgroup: &'a str, exe: &'a str, comm: &'a str) -> Facts<'a> {
        Facts { cgroup, exe, comm, is_kernel: false }
    }

    #[test]
    fn without_rules_the_host_says() {
        let docker = format!("/system.slice/docker-{ID}.scope");
        let pod = format!("/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope");
        let plain = format!("/docker/{ID}/init.scope");
        for (cgroup, exe, comm, want) in [
            (docker.as_str(), "nginx", "nginx", "0123456789ab"),
            (&pod, "java", "main", "0123456789ab"),
            (&plain, "x", "x", "0123456789ab"),
            ("/lxc.payload.web/system.slice/cron.service", "cron", "cron", "web"),
            ("/machine.slice/machine-build.scope/payload", "make", "make", "build"),
            ("/system.slice/postgresql@15-main.service", "postgres", "x", "postgresql@15-main"),
            ("/system.slice/a.service/worker", "a", "a", "a"),
            ("/user.slice/user-0.slice/user@0.service/app.slice/b.service", "b", "b", "b"),
            ("/user.slice/user-0.slice/session-3.scope", "vim", "vim", "vim"),
            ("/", "cc1", "cc1", "cc1"),
            ("id:77", "", "gone", "gone"),
            ("", "", "", ""),
        ] {
            let service = Rules::default().service(facts(cgroup, exe, comm));
            assert_eq!(&*service, want, "{cgroup}");
        }
        let kernel = Facts { is_kernel: true, ..facts("/", "", "kworker/0:1") };
        assert_eq!(&*Rules::default().service(kernel), "[kernel]");
    }

    #[test]
    fn the_first_rule_that_holds_names_it() {
        let rule = |name: &str, matches| Rule { name: name.to_owned(), matches };
        let some = |text: &str| Some(text.to_owned());
        let rules = Rules {
            rules: vec![
                rule("pg-{exe}", Match { unit: some("postgres*.service"), ..Match::default() }),
                rule("{container}", Match { container: some("*"), ..Match::default() }),
                rule("never-{unit}", Match { exe: some("make"), ..Match::default() }),
                rule("build", Match { exe: some("c?1"), comm: some("cc1"), ..Match::default() }),
                rule(
                    "top",
                    Match { labels: vec![("cgroup".into(), "/top/*".into())], ..Match::default() },
                ),
            ],
        };
        for (cgroup, exe, comm, want) in [
            ("/s/postgresql.service", "psql", "psql", "pg-psql"),
            ("/lxc.payload.web", "psql", "psql", "web"),
            ("/", "make", "make", "make"),
            ("/", "cc1", "cc1", "build"),
            ("/", "cc1", "other", "cc1"),
            ("/top/x", "y", "y", "top"),
            ("/tops", "y", "y", "y"),
        ] {
            assert_eq!(&*rules.service(facts(cgroup, exe, comm)), want, "{cgroup} {exe}");
        }
    }

    #[test]
    fn what_cannot_hold_is_refused() {
        let check = |name: &str, label: &str| {
            let labels = vec![(label.to_owned(), "*".to_owned())];
            Rule { name: name.to_owned(), matches: Match { labels, ..Match::default() } }.check()
        };
        assert_eq!(check("a-{unit}-{exe}", "comm"), Ok(()));
        assert_eq!(check(" ", "comm"), Err(RuleError::NoName));
        assert_eq!(check("{pod}", "comm"), Err(RuleError::Placeholder("pod".into())));
        assert_eq!(check("{unit", "comm"), Err(RuleError::Brace("{unit".into())));
        assert_eq!(check("unit}", "comm"), Err(RuleError::Brace("unit}".into())));
        assert_eq!(check("x", "pod"), Err(RuleError::Label("pod".into())));
    }

    #[test]
    fn patterns() {
        for (pattern, text, want) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("a*c", "abbbc", true),
            ("a*c", "abbb", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*b*b*", "abab", true),
            ("***", "x", true),
            ("x", "xy", false),
        ] {
            assert_eq!(matches(pattern, text), want, "{pattern} {text}");
        }
        assert!(!matches(&"*a".repeat(50), &"b".repeat(10_000)));
    }

    #[test]
    fn hostile_names_are_short_and_harmless() {
        let long = "x\n".repeat(10_000);
        let service = Rules::default().service(facts("/", &long, "a"));
        assert_eq!(service.chars().count(), MAX_NAME);
        assert!(!service.contains('\n'));
    }
}
