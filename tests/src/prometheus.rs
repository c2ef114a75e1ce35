//! Reads numbers out of Prometheus' text format.

/// The sum of all samples of `name` whose labels contain every one of `labels` (`action="deny"`).
pub fn sum(text: &str, name: &str, labels: &[&str]) -> f64 {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (metric, given) = series.split_once('{').unwrap_or((series, ""));
            let fits = metric == name && labels.iter().all(|label| given.contains(label));
            fits.then(|| value.parse::<f64>().ok()).flatten()
        })
        .sum()
}

/// Whether there is any sample of `name`.
pub fn has(text: &str, name: &str) -> bool {
    text.lines().any(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(['{', ' ']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_over_the_labels_that_are_not_named() {
        let text = "# TYPE a counter\na{x=\"1\",y=\"2\"} 3\na{x=\"1\",y=\"3\"} 4\na_b{x=\"1\"} 9\n";
        assert_eq!(sum(text, "a", &["x=\"1\""]), 7.0);
        assert_eq!(sum(text, "a", &["y=\"3\""]), 4.0);
        assert_eq!(sum(text, "missing", &[]), 0.0);
        assert!(has(text, "a_b") && !has(text, "b"));
    }
}
