//! Reads a proxy's statistics in Prometheus' text format.

/// All samples of one reading.
#[derive(Debug, Clone, Default)]
pub struct Stats(Vec<Sample>);

#[derive(Debug, Clone)]
struct Sample {
    name: String,
    /// As written, without the braces: `action="deny",mode="monitor"`.
    labels: String,
    value: f64,
}

/// A label and its value.
pub type Label<'a> = (&'a str, &'a str);

/// The label under which Envoy says whose requests it counted.
const MANAGER: &str = "envoy_http_conn_manager_prefix";
/// Connection managers of the shipped configuration that are not the edge.
const NOT_THE_EDGE: [&str; 3] = ["admin", "stats", "reputation_api"];

impl Stats {
    pub fn parse(text: &str) -> Self {
        Self::chosen(text, |_| true)
    }

    /// Only what stands under names that `wanted` wants.
    pub fn chosen(text: &str, wanted: impl Fn(&str) -> bool) -> Self {
        let name = |line: &str| line.split(['{', ' ']).next().is_some_and(&wanted);
        let samples = text
            .lines()
            .filter(|line| !line.starts_with('#') && name(line));
        Self(samples.filter_map(Sample::parse).collect())
    }

    /// Whether there is any sample of `name` with these labels.
    pub fn has(&self, name: &str, labels: &[Label<'_>]) -> bool {
        self.matching(name, labels).next().is_some()
    }

    /// Whether any name begins so.
    pub fn has_prefix(&self, prefix: &str) -> bool {
        self.0.iter().any(|sample| sample.name.starts_with(prefix))
    }

    /// Over all labels that are not named.
    pub fn sum(&self, name: &str, labels: &[Label<'_>]) -> f64 {
        self.matching(name, labels).map(|sample| sample.value).sum()
    }

    /// As [`Self::sum`], as a whole number.
    pub fn count(&self, name: &str, labels: &[Label<'_>]) -> u64 {
        whole(self.sum(name, labels))
    }

    /// Over the connection managers that serve clients.
    pub fn at_the_edge(&self, name: &str, labels: &[Label<'_>]) -> u64 {
        let edge = self.matching(name, labels).filter(|sample| {
            let mut others = NOT_THE_EDGE.into_iter();
            !others.any(|other| sample.has(&(MANAGER, other)))
        });
        whole(edge.map(|sample| sample.value).sum())
    }

    /// The sum over all whose name begins and ends so.
    pub fn sum_between(&self, prefix: &str, suffix: &str) -> u64 {
        let fits =
            |sample: &&Sample| sample.name.starts_with(prefix) && sample.name.ends_with(suffix);
        whole(self.0.iter().filter(fits).map(|sample| sample.value).sum())
    }

    fn matching<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [Label<'a>],
    ) -> impl Iterator<Item = &'a Sample> {
        let named = self.0.iter().filter(move |sample| sample.name == name);
        named.filter(move |sample| labels.iter().all(|label| sample.has(label)))
    }
}

impl Sample {
    fn parse(line: &str) -> Option<Self> {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        Some(Self {
            name: name.to_owned(),
            labels: labels.trim_end_matches('}').to_owned(),
            value: value.parse().ok()?,
        })
    }

    fn has(&self, (label, value): &Label<'_>) -> bool {
        let pair = format!("{label}=\"{value}\"");
        self.labels.split(',').any(|given| given == pair)
    }
}

/// Counters are whole, and so are our gauges.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to what fits"
)]
fn whole(value: f64) -> u64 {
    value.clamp(0.0, 9e18) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE a counter\n\
        a{x=\"1\",y=\"2\"} 3\na{x=\"1\",y=\"3\"} 4\na_b{} 9\nbroken\n\
        rq{envoy_http_conn_manager_prefix=\"edge\"} 5\n\
        rq{envoy_http_conn_manager_prefix=\"stats\"} 7\n\
        envoy_wasm_portcullis_vm_reload_success{} 2\nbuilt{} 1.795e9\n";

    #[test]
    fn samples_are_summed_over_the_labels_that_are_not_named() {
        let stats = Stats::parse(TEXT);
        assert_eq!(stats.count("a", &[("x", "1")]), 7);
        assert_eq!(stats.count("a", &[("y", "3")]), 4);
        assert_eq!(stats.count("none", &[]), 0);
        assert!(stats.has("a_b", &[]) && !stats.has("b", &[]));
        assert!(stats.has_prefix("a_") && !stats.has_prefix("z"));
        assert_eq!(stats.at_the_edge("rq", &[]), 5);
        assert_eq!(stats.sum_between("envoy_wasm_", "_vm_reload_success"), 2);
        assert_eq!(stats.count("built", &[]), 1_795_000_000);
    }
}
