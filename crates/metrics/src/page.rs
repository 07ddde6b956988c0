use crate::Tally;
use crate::histogram::BOUNDS;
use std::fmt::Write;

/// What a family counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the process lives; its name ends in `_total`.
    Counter,
    Gauge,
    Histogram,
}

/// The text format 0.0.4 of Prometheus.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
}

/// One family, whose samples are written next.
pub struct Family<'a> {
    name: &'static str,
    text: &'a mut String,
}

impl Page {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a family. It is on the page although it may get no sample, so that a reader sees that it exists.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family {
            name,
            text: &mut self.text,
        }
    }

    /// A family of one sample without labels.
    pub fn gauge(&mut self, name: &'static str, help: &str, value: impl Into<Value>) {
        self.family(name, Kind::Gauge, help).sample(&[], value);
    }

    /// A family of one sample without labels.
    pub fn counter(&mut self, name: &'static str, help: &str, value: impl Into<Value>) {
        self.family(name, Kind::Counter, help).sample(&[], value);
    }

    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }
}

/// A sample's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    Whole(u64),
    Real(f64),
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::Whole(value as u64)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Whole(u64::from(value))
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(value) => write!(f, "{value}"),
            Self::Real(value) => write!(f, "{value}"),
        }
    }
}

impl Family<'_> {
    /// Labels must not repeat within the family, and their values must come from a bounded set.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Into<Value>) {
        self.line("", labels, None, value.into());
    }

    /// Buckets, sum and count of a histogram, in seconds.
    pub fn histogram(&mut self, labels: &[(&str, &str)], tally: &Tally) {
        let mut below = 0;
        for (count, bound) in tally
            .buckets
            .iter()
            .zip(BOUNDS.map(|(_, bound)| bound).into_iter().chain(["+Inf"]))
        {
            below += count;
            self.line("_bucket", labels, Some(bound), Value::Whole(below));
        }
        #[allow(clippy::cast_precision_loss, reason = "a sum of durations")]
        let seconds = tally.nanos as f64 / 1e9;
        self.line("_sum", labels, None, Value::Real(seconds));
        self.line("_count", labels, None, Value::Whole(below));
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], bound: Option<&str>, value: Value) {
        let text = &mut *self.text;
        text.push_str(self.name);
        text.push_str(suffix);
        let labels = labels.iter().copied().chain(bound.map(|bound| ("le", bound)));
        let mut open = false;
        for (name, value) in labels {
            text.push(if open { ',' } else { '{' });
            open = true;
            text.push_str(name);
            text.push_str("=\"");
            for letter in value.chars() {
                match letter {
                    '\\' => text.push_str("\\\\"),
                    '"' => text.push_str("\\\""),
                    '\n' => text.push_str("\\n"),
                    other => text.push(other),
                }
            }
            text.push('"');
        }
        if open {
            text.push('}');
        }
        let _ = writeln!(text, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Histogram, parse};
    use std::time::Duration;

    #[test]
    fn the_format_is_prometheus_0_0_4() {
        let mut page = Page::new();
        page.counter("ottla_things_total", "Things.\nAll\\ of them.", 3u64);
        page.family("ottla_path_info", Kind::Gauge, "A path.")
            .sample(&[("path", "a\\b\"c\nd"), ("x", "")], 0.5);
        let _ = page.family("ottla_none", Kind::Gauge, "Nothing yet.");
        let histogram = Histogram::default();
        histogram.observe(Duration::from_millis(1));
        histogram.observe(Duration::from_secs(100));
        page.family("ottla_wait_seconds", Kind::Histogram, "Waits.")
            .histogram(&[("what", "w")], &Tally::from(&histogram));
        let text = page.into_text();
        let expected = "# HELP ottla_things_total Things.\\nAll\\\\ of them.\n# TYPE ottla_things_total counter\n\
                        ottla_things_total 3\n# HELP ottla_path_info A path.\n# TYPE ottla_path_info gauge\n\
                        ottla_path_info{path=\"a\\\\b\\\"c\\nd\",x=\"\"} 0.5\n# HELP ottla_none Nothing yet.\n\
                        # TYPE ottla_none gauge\n# HELP ottla_wait_seconds Waits.\n# TYPE ottla_wait_seconds histogram\n\
                        ottla_wait_seconds_bucket{what=\"w\",le=\"0.0001\"} 0\n";
        assert!(text.starts_with(expected), "{text}");
        for line in [
            "ottla_wait_seconds_bucket{what=\"w\",le=\"0.0005\"} 0\n",
            "ottla_wait_seconds_bucket{what=\"w\",le=\"0.001\"} 1\n",
            "ottla_wait_seconds_bucket{what=\"w\",le=\"10\"} 1\n",
            "ottla_wait_seconds_bucket{what=\"w\",le=\"+Inf\"} 2\n",
            "ottla_wait_seconds_sum{what=\"w\"} 100.001\nottla_wait_seconds_count{what=\"w\"} 2\n",
        ] {
            assert!(text.contains(line), "{line:?} in {text}");
        }
        let page = parse(&text).unwrap();
        assert_eq!(
            page.value("ottla_path_info", &[("path", "a\\b\"c\nd"), ("x", "")]),
            Some(0.5)
        );
    }
}
