//! The parameters of a request: read strictly, so that a mistyped one is told and not ignored.

use std::time::Duration;

use jiff::Timestamp;

use super::answers::Refusal;
use crate::model::choice::EventChoice;
use crate::model::query::{Filter, Range};

/// Longest time that a profile is taken for.
pub(super) const LONGEST_PROFILE: Duration = Duration::from_secs(600);

/// Most parameters of one request.
const MOST: usize = 64;

/// Names of the parameters of [`Parameters::filter`].
pub(super) const FILTER: [&str; 4] = ["pid", "service", "label", "event"];

/// Names of the parameters of [`Parameters::range`].
pub(super) const RANGE: [&str; 3] = ["from", "to", "last"];

/// The parameters of one request, decoded, in their order.
#[derive(Debug)]
pub(super) struct Parameters(Vec<(String, String)>);

/// A path with parameters after it, encoded.
pub(super) fn encode(path: &str, parameters: &[(&str, &str)]) -> String {
    if parameters.is_empty() {
        return path.to_owned();
    }
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parameters);
    format!("{path}?{}", query.finish())
}

impl Parameters {
    /// Decodes what stands behind the question mark. Only names of `known` may be there.
    ///
    /// # Errors
    /// Where a name is not known, with the one that was perhaps meant.
    pub(super) fn parse(query: Option<&str>, known: &[&[&str]]) -> Result<Self, Refusal> {
        let known: Vec<&str> = known.concat();
        let query = query.unwrap_or_default().as_bytes();
        let pairs = form_urlencoded::parse(query).into_owned().take(MOST + 1);
        let pairs: Vec<(String, String)> = pairs.collect();
        if pairs.len() > MOST {
            return Err(Refusal::Bad(format!("more than {MOST} parameters")));
        }
        match pairs.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => Err(unknown(name, &known)),
            None => Ok(Self(pairs)),
        }
    }

    /// The value of a parameter that may stand once.
    pub(super) fn one(&self, name: &str) -> Result<Option<&str>, Refusal> {
        let mut values = self.all(name);
        let value = values.next();
        match values.next() {
            Some(_) => Err(Refusal::Bad(format!("{name} stands twice"))),
            None => Ok(value),
        }
    }

    /// A whole number between two bounds.
    pub(super) fn number(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>, Refusal> {
        let Some(text) = self.one(name)? else { return Ok(None) };
        let number = text.parse().ok().filter(|n| (least..=most).contains(n));
        number.map(Some).ok_or_else(|| {
            Refusal::Bad(format!("{name}={text}: a whole number from {least} to {most}, please"))
        })
    }

    /// A length of time in seconds, at most [`LONGEST_PROFILE`].
    pub(super) fn seconds(&self, least: u64, default: u64) -> Result<Duration, Refusal> {
        let seconds = self.number("seconds", least, LONGEST_PROFILE.as_secs())?;
        Ok(Duration::from_secs(seconds.unwrap_or(default)))
    }

    /// Which samples are wanted; `default` is the kind of time where none is named.
    pub(super) fn filter(&self, default: EventChoice) -> Result<Filter, Refusal> {
        let pid = self.number("pid", 1, i32::MAX as u64)?.and_then(|pid| u32::try_from(pid).ok());
        let labels = self.all("label").map(|text| {
            let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
            let pair = pair.map(|(name, value)| (name.to_owned(), value.to_owned()));
            pair.ok_or_else(|| Refusal::Bad(format!("label={text}: label=NAME=VALUE, please")))
        });
        let event = match self.one("event")? {
            None => default,
            Some(name) => event_named(name)?,
        };
        Ok(Filter {
            pid,
            service: self.one("service")?.map(str::to_owned),
            labels: labels.collect::<Result<_, _>>()?,
            event,
        })
    }

    /// Of which time: `last=10m`, or `from=` and perhaps `to=`; without any, the last hour.
    pub(super) fn range(&self, now: Timestamp, longest: Duration) -> Result<Range, Refusal> {
        let (from, to, last) = (self.one("from")?, self.one("to")?, self.one("last")?);
        let now = nanoseconds(now);
        let to_unix_ns = to.map(moment).transpose()?.unwrap_or(now);
        let from_unix_ns = match (from, last) {
            (Some(_), Some(_)) => {
                return Err(Refusal::Bad("from and last exclude each other".to_owned()));
            }
            (Some(from), None) => moment(from)?,
            (None, last) => {
                let last = last.unwrap_or("1h");
                let last = humantime::parse_duration(last).map_err(|error| {
                    Refusal::Bad(format!("last={last}: {error}; for example last=10m"))
                })?;
                let last = u64::try_from(last.as_nanos()).unwrap_or(u64::MAX);
                to_unix_ns.saturating_sub(last)
            }
        };
        let range = Range { from_unix_ns, to_unix_ns };
        if range.length_ns() == 0 {
            return Err(Refusal::Bad("the time asked for ends before it begins".to_owned()));
        }
        if u128::from(range.length_ns()) > longest.as_nanos() {
            let longest = humantime::format_duration(longest);
            let why =
                format!("more time than the {longest} that one query may ask for: ask in parts");
            return Err(Refusal::Bad(why));
        }
        Ok(range)
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

fn unknown(name: &str, known: &[&str]) -> Refusal {
    let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    let near = known.iter().map(|k| (strsim::jaro_winkler(k, &name), k));
    let near = near.filter(|(likeness, _)| *likeness > 0.8).max_by(|(a, _), (b, _)| a.total_cmp(b));
    let way_out = match near {
        Some((_, near)) => format!("did you mean {near}?"),
        None if known.is_empty() => "there are none here".to_owned(),
        None => format!("there are {}", known.join(", ")),
    };
    Refusal::Bad(format!("no parameter {name:?}; {way_out}"))
}

fn event_named(name: &str) -> Result<EventChoice, Refusal> {
    let all = [EventChoice::OnCpu, EventChoice::OffCpu, EventChoice::Wall];
    all.into_iter()
        .find(|event| event.name() == name)
        .ok_or_else(|| Refusal::Bad(format!("event={name}: on-cpu, off-cpu or wall, please")))
}

/// A moment as RFC 3339 or as seconds since 1970, perhaps with a fraction.
fn moment(text: &str) -> Result<u64, Refusal> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(nanoseconds(moment));
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let seconds = Some(seconds).filter(|s| digits(s)).and_then(|s| s.parse::<u64>().ok());
    let fraction = Some(fraction).filter(|f| digits(f) && f.len() <= 9);
    let fraction = fraction.and_then(|f| format!("{f:0<9}").parse::<u64>().ok());
    let moment = seconds
        .zip(fraction)
        .and_then(|(seconds, fraction)| seconds.checked_mul(1_000_000_000)?.checked_add(fraction));
    moment.ok_or_else(|| {
        let text: String = text.chars().take(64).collect();
        Refusal::Bad(format!("{text:?} is no moment: 2026-01-31T03:10:00Z, or seconds since 1970"))
    })
}

fn nanoseconds(moment: Timestamp) -> u64 {
    u64::try_from(moment.as_nanosecond()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn parse(query: &str) -> Result<Parameters, Refusal> {
        Parameters::parse(Some(query), &[&["seconds", "format"], &FILTER, &RANGE])
    }

    fn range(query: &str) -> Result<(u64, u64), Refusal> {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let range = parse(query)?.range(now, DAY)?;
        Ok((range.from_unix_ns, range.to_unix_ns))
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        let pairs = [("service", "a b&c=d/ü"), ("label", "state=on disk"), ("label", "comm=x")];
        let text = encode("/api", &pairs);
        let parameters = parse(text.strip_prefix("/api?").unwrap()).unwrap();
        let filter = parameters.filter(EventChoice::Wall).unwrap();
        assert_eq!(filter.service.as_deref(), Some("a b&c=d/ü"));
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(filter.labels, [label("state", "on disk"), label("comm", "x")]);
        assert_eq!(filter.event, EventChoice::Wall);
    }

    #[test]
    fn a_mistyped_name_is_told() {
        for (query, told) in [
            ("secnds=3", "did you mean seconds?"),
            ("color=red", "there are seconds, format, pid"),
            ("pid=1&pid=2", "pid stands twice"),
            ("pid=0", "from 1 to"),
            ("pid=-3", "pid=-3"),
            ("label=x", "label=NAME=VALUE"),
            ("label==x", "label=NAME=VALUE"),
            ("event=cpu", "on-cpu, off-cpu or wall"),
            ("seconds=601", "from 1 to 600"),
            (&"label=a=b&".repeat(65), "more than 64"),
        ] {
            let asked = parse(query).and_then(|p| {
                p.seconds(1, 30)?;
                p.filter(EventChoice::OnCpu)
            });
            let error = asked.unwrap_err().to_string();
            assert!(error.contains(told), "{query}: {error}");
        }
    }

    #[test]
    fn a_range_is_read_in_every_form() {
        const S: u64 = 1_000_000_000;
        for (query, from, to) in [
            ("", 996_400 * S, 1_000_000 * S),
            ("last=10m", 999_400 * S, 1_000_000 * S),
            ("last=10s&to=500.25", 490 * S + S / 4, 500 * S + S / 4),
            ("from=1970-01-12T13:46:30Z", 999_990 * S, 1_000_000 * S),
            ("from=999990&to=999999.000000001", 999_990 * S, 999_999 * S + 1),
        ] {
            assert_eq!(range(query), Ok((from, to)), "{query}");
        }
        for query in [
            "last=x",
            "from=5&last=3s",
            "from=9&to=8",
            "from=noon",
            "from=1.1234567890",
            "last=25h",
        ] {
            assert!(matches!(range(query), Err(Refusal::Bad(_))), "{query}");
        }
    }
}
