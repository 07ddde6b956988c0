use std::collections::{BTreeMap, BTreeSet};

/// A page as a strict reader understands it.
#[derive(Debug, Default)]
pub struct Exposition {
    /// Name, kind and help of every family, in the order of the page.
    pub families: Vec<(String, String, String)>,
    samples: BTreeMap<(String, Labels), f64>,
}

type Labels = Vec<(String, String)>;

impl Exposition {
    /// A sample's value; the order of labels does not count.
    #[must_use]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut labels: Labels = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        labels.sort();
        self.samples.get(&(name.to_owned(), labels)).copied()
    }

    /// All samples of a name added up.
    #[must_use]
    pub fn sum(&self, name: &str) -> f64 {
        let of_name = self.samples.iter().filter(|((other, _), _)| other == name);
        of_name.map(|(_, value)| value).sum()
    }
}

/// Reads a page in the text format 0.0.4, more strictly than Prometheus does: every family has HELP and TYPE first and
/// stands in one place, no sample comes twice, buckets are cumulative and end in `+Inf`, and names keep to the conventions
/// (`_total` on counters alone, base units).
///
/// # Errors
/// What is wrong, with the line.
pub fn parse(text: &str) -> Result<Exposition, String> {
    let mut page = Exposition::default();
    if !text.ends_with('\n') {
        return Err("the last line has no end".to_owned());
    }
    let mut lines = text.lines().peekable();
    let mut seen = BTreeSet::new();
    while let Some(line) = lines.next() {
        let wrong = |what: &str| Err(format!("{what}: {line}"));
        let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) else {
            return wrong("not the HELP of a family");
        };
        let next = lines.next().unwrap_or_default();
        let Some(kind) = next.strip_prefix(&format!("# TYPE {name} ")) else {
            return wrong("no TYPE follows");
        };
        check_name(name, kind).map_err(|what| format!("{what}: {name}"))?;
        if !seen.insert(name.to_owned()) {
            return wrong("a family twice");
        }
        if help.is_empty() || !help.ends_with('.') {
            return wrong("HELP is no sentence");
        }
        let mut own = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            own.push(sample(line)?);
        }
        for (sample, labels, _) in &own {
            let suffix = sample.strip_prefix(name);
            let fits = match kind {
                "histogram" => matches!(suffix, Some("_bucket" | "_sum" | "_count")),
                _ => suffix == Some(""),
            };
            if !fits {
                return Err(format!("{sample} stands under {name}"));
            }
            let names: BTreeSet<_> = labels.iter().map(|(name, _)| name).collect();
            if names.len() != labels.len() {
                return Err(format!("a label twice: {sample} {labels:?}"));
            }
        }
        if kind == "histogram" {
            check_buckets(name, &own)?;
        }
        for (sample, mut labels, value) in own {
            labels.sort();
            if let Some(again) = page.samples.insert((sample.clone(), labels), value) {
                return Err(format!("{sample} twice, first {again}, then {value}"));
            }
        }
        page.families.push((name.to_owned(), kind.to_owned(), help.to_owned()));
    }
    Ok(page)
}

fn check_name(name: &str, kind: &str) -> Result<(), String> {
    if !is_name(name) || name.contains(':') {
        return Err("no name for a metric".to_owned());
    }
    if !matches!(kind, "counter" | "gauge" | "histogram") {
        return Err(format!("{kind} is no kind"));
    }
    if name.ends_with("_total") != (kind == "counter") {
        return Err("_total stands on counters and nothing else".to_owned());
    }
    if ["_count", "_sum", "_bucket"]
        .iter()
        .any(|suffix| name.ends_with(suffix))
    {
        return Err("the suffix is a histogram's".to_owned());
    }
    let units = [
        "milliseconds",
        "millis",
        "ms",
        "microseconds",
        "minutes",
        "hours",
        "days",
        "kilobytes",
        "kb",
        "mb",
        "gb",
        "percent",
    ];
    match name.split('_').find(|part| units.contains(part)) {
        Some(unit) => Err(format!("{unit} is no base unit")),
        None => Ok(()),
    }
}

fn is_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || byte == b':';
    name.bytes().next().is_some_and(letter) && name.bytes().all(|byte| letter(byte) || byte.is_ascii_digit())
}

fn sample(line: &str) -> Result<(String, Labels, f64), String> {
    let wrong = || format!("no sample: {line}");
    let end = line.find(['{', ' ']).ok_or_else(wrong)?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(mut inside) = rest.strip_prefix('{') {
        while !inside.starts_with('}') {
            let (label, after) = inside.split_once("=\"").ok_or_else(wrong)?;
            if !is_name(label) || label.starts_with("__") || label.contains(':') {
                return Err(wrong());
            }
            let (value, after) = quoted(after).ok_or_else(wrong)?;
            labels.push((label.to_owned(), value));
            inside = match after.strip_prefix(',') {
                Some(more) if !more.starts_with('}') => more,
                None if after.starts_with('}') => after,
                _ => return Err(wrong()),
            };
        }
        rest = &inside[1..];
    }
    let value = rest.strip_prefix(' ').ok_or_else(wrong)?;
    let value: f64 = value.parse().map_err(|_| wrong())?;
    if !is_name(name) || !value.is_finite() {
        return Err(wrong());
    }
    Ok((name.to_owned(), labels, value))
}

/// A label's value up to its closing quote, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match letters.next()?.1 {
                'n' => '\n',
                escaped @ ('\\' | '"') => escaped,
                _ => return None,
            }),
            other => value.push(other),
        }
    }
    None
}

/// Of each set of labels: bounds ascend and end in +Inf, counts do not fall, and the last is `_count`.
fn check_buckets(name: &str, samples: &[(String, Labels, f64)]) -> Result<(), String> {
    let mut buckets: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
    let (mut counts, mut sums) = (BTreeMap::new(), BTreeSet::new());
    for (sample, labels, value) in samples {
        let mut labels = labels.clone();
        let bound = labels
            .iter()
            .position(|(label, _)| label == "le")
            .map(|at| labels.remove(at).1);
        match (sample.strip_prefix(name), bound) {
            (Some("_bucket"), Some(bound)) => {
                let bound = if bound == "+Inf" {
                    Ok(f64::INFINITY)
                } else {
                    bound.parse().map_err(|_| format!("{name}: no bound: {bound}"))
                };
                buckets.entry(labels).or_default().push((bound?, *value));
            }
            (Some("_count"), None) => drop(counts.insert(labels, *value)),
            (Some("_sum"), None) => drop(sums.insert(labels)),
            _ => return Err(format!("{name}: a bucket without bound, or a bound without bucket")),
        }
    }
    for (labels, buckets) in &buckets {
        let ascending = buckets
            .windows(2)
            .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        let last = buckets.last().copied().unwrap_or_default();
        if !ascending || last.0 != f64::INFINITY || counts.get(labels) != Some(&last.1) || !sums.contains(labels) {
            return Err(format!("{name}{labels:?}: buckets do not add up: {buckets:?}"));
        }
    }
    if buckets.len() == counts.len() && counts.len() == sums.len() {
        Ok(())
    } else {
        Err(format!("{name}: a histogram without buckets"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# HELP a_total A.\n# TYPE a_total counter\na_total{x=\"1\"} 1\na_total{x=\"2\"} 2.5\n\
                        # HELP h H.\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n";

    #[test]
    fn a_good_page_is_read() {
        let page = parse(GOOD).unwrap();
        assert_eq!(page.families.len(), 2);
        assert_eq!(page.value("a_total", &[("x", "2")]), Some(2.5));
        assert!((page.sum("a_total") - 3.5).abs() < f64::EPSILON);
    }

    #[test]
    fn whatever_is_wrong_with_a_page_is_found() {
        // (in the good page, in its place)
        for (from, to) in [
            ("# TYPE a_total counter\n", ""),
            ("# HELP a_total A.\n", ""),
            ("A.", "A"),
            ("a_total counter", "a_total gauge"),
            ("a_total", "a"),
            ("a_total", "a_ms_total"),
            ("a_total", "0a_total"),
            ("# HELP h H.", "# HELP a_total H."),
            ("x=\"2\"", "x=\"1\""),
            ("x=\"1\"", "x=\"1"),
            ("x=\"1\"", "x=\"1\","),
            ("x=\"1\"", "x=\"\\1\""),
            ("x=\"1\"", "x=\"1\",x=\"2\""),
            ("x=\"1\"} 1", "x=\"1\"} one"),
            ("x=\"1\"} 1", "x=\"1\"} NaN"),
            ("x=\"1\"} 1", "x=\"1\"}  1"),
            ("h_count 2", "h_count 3"),
            ("h_count 2\n", ""),
            ("h_sum 3\n", ""),
            ("h_bucket{le=\"+Inf\"} 2\n", ""),
            ("le=\"1\"} 1", "le=\"1\"} 3"),
            ("h_sum 3", "b_sum 3"),
            ("h_count 2\n", "h_count 2"),
        ] {
            let page = GOOD.replace(from, to);
            assert_ne!(page, GOOD);
            assert!(parse(&page).is_err(), "{from:?} -> {to:?} passes:\n{page}");
        }
    }
}
