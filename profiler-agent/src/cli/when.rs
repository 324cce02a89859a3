//! Times as people write them on a command line: `03:10`, `2026-11-24T03:10`, with an offset, `10m` ago.

use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::civil::{DateTime, Time};
use jiff::{Timestamp, ToSpan as _, Zoned};

use crate::model::query::Range;

/// How far back is looked where nothing is said.
const DEFAULT_LAST: Duration = Duration::from_secs(3600);

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
    pub(super) last: Option<Duration>,
}

impl Asked {
    /// The stretch of time that is meant, by the clock and in the time zone of `now`.
    ///
    /// # Errors
    /// For the user: which flag, what is wrong with it, and how it is written.
    pub(super) fn range(&self, now: &Zoned) -> anyhow::Result<Range> {
        let from = match &self.from {
            Some(text) => latest(text, now).with_context(|| format!("--from {text}"))?,
            None => {
                let last = self.last.unwrap_or(DEFAULT_LAST);
                let far_back = || format!("--last {last:?} is longer than there is time");
                now.checked_sub(last).with_context(far_back)?
            }
        };
        let to = match &self.to {
            Some(text) => after(text, &from, now).with_context(|| format!("--to {text}"))?,
            None => now.clone(),
        };
        for (flag, text, time) in [("--from", &self.from, &from), ("--to", &self.to, &to)] {
            if time > now {
                let text = text.as_deref().unwrap_or_default();
                bail!("{flag} {text} is in the future: it is {} now", shown(now.timestamp()));
            }
        }
        if to <= from {
            bail!(
                "the time asked for ends before it begins: {} to {}",
                shown(from.timestamp()),
                shown(to.timestamp())
            );
        }
        Ok(Range { from_unix_ns: unix_ns(&from), to_unix_ns: unix_ns(&to) })
    }
}

/// A moment; a time of day is the last such one.
fn latest(text: &str, now: &Zoned) -> anyhow::Result<Zoned> {
    let Some(time) = time_of_day(text) else { return moment(text, now) };
    let today = now.with().time(time).build()?;
    Ok(if today > *now { today.checked_sub(1.day())? } else { today })
}

/// A moment; a time of day is the next such one after another moment.
fn after(text: &str, from: &Zoned, now: &Zoned) -> anyhow::Result<Zoned> {
    let Some(time) = time_of_day(text) else { return moment(text, now) };
    let same_day = from.with().time(time).build()?;
    Ok(if same_day <= *from { same_day.checked_add(1.day())? } else { same_day })
}

fn time_of_day(text: &str) -> Option<Time> {
    let is_one =
        text.len() >= 4 && text.bytes().all(|b| b.is_ascii_digit() || b == b':' || b == b'.');
    let text = if text.find(':') == Some(1) { format!("0{text}") } else { text.to_owned() };
    text.parse().ok().filter(|_| is_one && text.contains(':'))
}

fn moment(text: &str, now: &Zoned) -> anyhow::Result<Zoned> {
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(timestamp.to_zoned(now.time_zone().clone()));
    }
    let local: Result<DateTime, _> = text.parse();
    let Ok(local) = local else {
        bail!("no time; write 03:10, 2026-11-24T03:10 or 2026-11-24T03:10:00+01:00");
    };
    Ok(local.to_zoned(now.time_zone().clone())?)
}

fn unix_ns(time: &Zoned) -> u64 {
    u64::try_from(time.timestamp().as_nanosecond()).unwrap_or(0)
}

/// A moment for people: local time, to the second.
pub(super) fn shown(time: Timestamp) -> String {
    shown_in(&time.to_zoned(jiff::tz::TimeZone::system()))
}

fn shown_in(time: &Zoned) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// A Unix time in ns, for people.
pub(super) fn shown_unix_ns(unix_ns: u64) -> String {
    Timestamp::from_nanosecond(unix_ns.into()).map_or_else(|_| "?".to_owned(), shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Zoned {
        text.parse().unwrap()
    }

    /// The range, as local times in Berlin, where it is 12:00.
    fn range(from: Option<&str>, to: Option<&str>, last: Option<&str>) -> anyhow::Result<String> {
        let now = at("2026-11-24T12:00:00[Europe/Berlin]");
        let asked = Asked {
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
            last: last.map(|text| humantime::parse_duration(text).unwrap()),
        };
        let range = asked.range(&now)?;
        let local = |ns: u64| {
            let time = Timestamp::from_nanosecond(ns.into()).unwrap();
            time.to_zoned(now.time_zone().clone()).strftime("%d %H:%M:%S").to_string()
        };
        Ok(format!("{} - {}", local(range.from_unix_ns), local(range.to_unix_ns)))
    }

    #[test]
    fn times_are_read_as_people_mean_them() {
        for (from, to, last, expected) in [
            (None, None, None, "24 11:00:00 - 24 12:00:00"),
            (None, None, Some("10m"), "24 11:50:00 - 24 12:00:00"),
            (Some("03:10"), None, None, "24 03:10:00 - 24 12:00:00"),
            (Some("3:10"), Some("03:20:30"), None, "24 03:10:00 - 24 03:20:30"),
            (Some("23:50"), Some("00:10"), None, "23 23:50:00 - 24 00:10:00"),
            (Some("12:01"), Some("12:02"), None, "23 12:01:00 - 23 12:02:00"),
            (Some("2026-11-20"), Some("2026-11-20 06:00"), None, "20 00:00:00 - 20 06:00:00"),
            (Some("2026-11-20T22:00"), Some("01:00"), None, "20 22:00:00 - 21 01:00:00"),
            (Some("2026-11-24T03:10:00Z"), Some("05:00"), None, "24 04:10:00 - 24 05:00:00"),
            (Some("2026-11-24T03:10:00-05:00"), None, None, "24 09:10:00 - 24 12:00:00"),
        ] {
            assert_eq!(range(from, to, last).unwrap(), expected, "{from:?} {to:?} {last:?}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_told() {
        for (from, to, expected) in [
            ("noon", None, "--from noon: no time; write 03:10"),
            ("25:00", None, "--from 25:00: no time"),
            ("2026-11-24T13:00", None, "in the future"),
            ("11:00", Some("2026-11-25T10:00"), "--to 2026-11-25T10:00 is in the future"),
            ("11:00", Some("2026-11-24T10:00"), "ends before it begins"),
        ] {
            let error = format!("{:#}", range(Some(from), to, None).unwrap_err());
            assert!(error.contains(expected), "{from} {to:?}: {error}");
        }
    }

    #[test]
    fn an_hour_that_summer_time_has_twice_or_never_is_a_moment_all_the_same() {
        let now = at("2026-10-25T12:00:00[Europe/Berlin]");
        let asked = Asked { from: Some("02:30".into()), ..Asked::default() };
        assert!(asked.range(&now).is_ok());
        let now = at("2026-03-29T12:00:00[Europe/Berlin]");
        assert!(asked.range(&now).is_ok());
    }
}
