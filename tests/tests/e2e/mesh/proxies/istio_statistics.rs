//! What Istio's bootstrap says of statistics, from its sources (tools/packaging/common/envoy_bootstrap.json,
//! pkg/bootstrap/config.go, pilot/pkg/networking/util): few are exported beside those that the annotation
//! `proxy.istio.io/config` names, and only Istio's own labels are taken out of the names, up to a semicolon that Istio
//! puts behind the names of clusters and listeners.

use serde_json::{Value, json};

use super::super::rendered::list;

/// What is exported whatever the annotation says, by how the names begin.
const ADMITTED: [&str; 8] = [
    "reporter=",
    "cluster_manager",
    "listener_manager",
    "server",
    "cluster.xds-grpc",
    "wasm",
    "component",
    "istio",
];

/// A name as it stands in statistics.
pub fn with_end(name: &str) -> String {
    format!("{name};")
}

/// `stats_config` of the proxy with this configuration.
pub fn stats_config(proxy: &Value) -> Value {
    let asked = |key: &str| list(proxy, &format!("/proxyStatsMatcher/{key}"));
    let pattern = |kind: &'static str| move |text: &Value| json!({kind: text});
    let regex = |text: &Value| json!({"safe_regex": {"regex": text}});
    let admitted = ADMITTED.map(|text| json!({"prefix": text}));
    let prefixes = asked("inclusionPrefixes").iter().map(pattern("prefix"));
    let suffixes = asked("inclusionSuffixes").iter().map(pattern("suffix"));
    let regexes = asked("inclusionRegexps").iter().map(regex);
    let patterns: Vec<_> = admitted
        .into_iter()
        .chain(prefixes)
        .chain(suffixes)
        .chain(regexes)
        .collect();
    json!({
        "use_all_default_tags": false,
        "stats_tags": [
            {"tag_name": "cluster_name", "regex": r"^cluster(\.(.+);)"},
            {"tag_name": "http_conn_manager_prefix", "regex": r"^http\.(([\w.:\[\]]*);\.)"},
            {"tag_name": "response_code_class", "regex": r"_rq(_(\dxx))$"},
        ],
        "stats_matcher": {"inclusion_list": {"patterns": patterns}},
    })
}
