//! The labels of a series, as Pyroscope and Parca take them.

use std::collections::BTreeMap;

use super::split::Kind;

/// Most labels of a series.
const MAX_LABELS: usize = 30;

/// Longest value, in bytes.
const MAX_VALUE: usize = 2048;

/// Labels that each series has of its own.
const NAME: &str = "__name__";
const SERVICE: &str = "service_name";
const NODE: &str = "node";

/// The labels that all series of a sink share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Labels(BTreeMap<String, String>);

impl Labels {
    /// Of the sink's labels; `node` is the name of the host where they do not say otherwise.
    ///
    /// # Errors
    /// Where there are too many, or one is empty, or two get the same name.
    pub(super) fn new(given: &BTreeMap<String, String>, host: &str) -> Result<Self, String> {
        let mut labels = BTreeMap::new();
        for (name, value) in given {
            let fit = fit_name(name);
            if fit.is_empty() || value.is_empty() {
                return Err(format!("labels.{name} is empty"));
            }
            if [NAME, SERVICE].contains(&fit.as_str()) {
                return Err(format!("labels.{name} is set by the agent"));
            }
            if labels.insert(fit.clone(), fit_value(value)).is_some() {
                return Err(format!("labels.{name}: there are two of the name {fit}"));
            }
        }
        if !host.is_empty() {
            labels.entry(NODE.to_owned()).or_insert_with(|| fit_value(host));
        }
        // The name and the service come on top.
        if labels.len() + 2 > MAX_LABELS {
            return Err(format!(
                "labels: {} are too many, {} may be",
                labels.len(),
                MAX_LABELS - 2
            ));
        }
        Ok(Self(labels))
    }

    /// All labels of a series, by name.
    pub(super) fn of_series(&self, service: &str, kind: Kind) -> Vec<(String, String)> {
        let mut labels = self.0.clone();
        labels.insert(NAME.to_owned(), kind.profile_name().to_owned());
        labels.insert(SERVICE.to_owned(), fit_value(service));
        labels.into_iter().collect()
    }
}

/// Letters, digits and underscores, no digit first: `k8s.pod` becomes `k8s_pod`.
fn fit_name(name: &str) -> String {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let fit: String = name.chars().map(|c| if is_fit(c) { c } else { '_' }).collect();
    if fit.starts_with(|c: char| c.is_ascii_digit()) { format!("_{fit}") } else { fit }
}

fn fit_value(value: &str) -> String {
    let end = (0..=MAX_VALUE.min(value.len())).rev().find(|n| value.is_char_boundary(*n));
    value.get(..end.unwrap_or(0)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn a_series_has_its_own_labels_and_those_of_the_sink() {
        let labels = Labels::new(&given(&[("k8s.pod", "a"), ("env", "prod")]), "host").unwrap();
        let series = labels.of_series("web", Kind::OffCpu);
        let series: Vec<_> = series.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let due = [
            ("__name__", "off_cpu"),
            ("env", "prod"),
            ("k8s_pod", "a"),
            ("node", "host"),
            ("service_name", "web"),
        ];
        assert_eq!(series, due);
    }

    #[test]
    fn what_no_backend_takes_is_refused() {
        for (bad, why) in [
            (given(&[("env", "")]), "empty"),
            (given(&[("", "x")]), "empty"),
            (given(&[("a.b", "x"), ("a-b", "y")]), "two"),
            (given(&[("service.name", "x")]), "set by the agent"),
            ((0..28).map(|n| (format!("l{n}"), "x".to_owned())).collect(), "too many"),
        ] {
            let error = Labels::new(&bad, "host").unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        assert_eq!(fit_value(&"ä".repeat(2000)), "ä".repeat(1024));
        assert_eq!(fit_name("9lives"), "_9lives");
    }
}
