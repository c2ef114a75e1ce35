use reputation::DecisionKind;
use reputation::decision::Origin;
use reputation::mode::Mode;

use super::*;

#[test]
fn the_names_of_the_public_contract_are_kept() {
    let metrics = Metrics::new();
    let provider = "abuseipdb";
    metrics.cache_request(CacheLayer::Memory, CacheResult::Hit);
    metrics.provider_request(provider, "ok", Duration::from_millis(3));
    metrics.provider_skipped(provider, "pace");
    metrics.provider_quota(provider, 1000, 999);
    metrics.feed_taken("ipsum", 7, UnixSeconds(1_800_000_000));
    metrics.feed_refused("ipsum", "shrunk");
    metrics.config_loaded(UnixSeconds(1_800_000_000));
    metrics.secret_expiry("abuseipdb", 1_800_000_000);
    metrics.http_request("edge", "verdict", 200, Duration::from_micros(90));
    let text = metrics.encode().unwrap();
    for line in [
        "portcullis_build_info{version=\"0.1.0\"} 1",
        "portcullis_cache_requests_total{layer=\"memory\",result=\"hit\"} 1",
        "portcullis_provider_requests_total{provider=\"abuseipdb\",outcome=\"ok\"} 1",
        "portcullis_provider_skipped_total{provider=\"abuseipdb\",reason=\"pace\"} 1",
        "portcullis_provider_duration_seconds_count{provider=\"abuseipdb\"} 1",
        "portcullis_provider_quota_limit{provider=\"abuseipdb\"} 1000",
        "portcullis_provider_quota_remaining{provider=\"abuseipdb\"} 999",
        "portcullis_feed_entries{feed=\"ipsum\"} 7",
        "portcullis_feed_last_success_timestamp_seconds{feed=\"ipsum\"} 1800000000",
        "portcullis_feed_refused_total{feed=\"ipsum\",cause=\"shrunk\"} 1",
        "portcullis_config_last_reload_successful 1",
        "portcullis_config_last_reload_timestamp_seconds 1800000000",
        "portcullis_secret_expiry_timestamp_seconds{secret=\"abuseipdb\"} 1800000000",
        "portcullis_http_requests_total{listener=\"edge\",route=\"verdict\",status=\"200\"} 1",
        "portcullis_http_request_duration_seconds_count{listener=\"edge\",route=\"verdict\"} 1",
        "# UNIT portcullis_provider_duration_seconds seconds",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in\n{text}"
        );
    }
}

#[test]
fn decisions_that_are_gone_are_not_counted_on() {
    let metrics = Metrics::new();
    let ban = a_ban();
    metrics.set_decisions([&ban]);
    let line = "portcullis_decisions{origin=\"operator\",type=\"ban\"} 1";
    assert!(metrics.encode().unwrap().contains(line));
    metrics.set_decisions([]);
    assert!(!metrics.encode().unwrap().contains("portcullis_decisions{"));
}

#[test]
fn modes_that_ended_are_not_counted_on() {
    let metrics = Metrics::new();
    let (a, b) = (off(Some("checkout")), off(Some("login")));
    metrics.set_modes([&off(None), &a, &b]);
    let text = metrics.encode().unwrap();
    for line in [
        "portcullis_mode_overrides{mode=\"off\",scope=\"all\"} 1",
        "portcullis_mode_overrides{mode=\"off\",scope=\"route\"} 2",
    ] {
        assert!(text.contains(line), "{text}");
    }
    metrics.set_modes([]);
    assert!(!metrics.encode().unwrap().contains("mode_overrides{"));
}

#[test]
fn a_feed_that_was_never_read_is_there_from_the_start_and_gone_with_its_configuration() {
    let metrics = Metrics::new();
    metrics.feed_configured("a", Duration::from_secs(3600));
    let text = metrics.encode().unwrap();
    for line in [
        "portcullis_feed_refresh_seconds{feed=\"a\"} 3600",
        "portcullis_feed_last_success_timestamp_seconds{feed=\"a\"} 0",
    ] {
        assert!(text.contains(line), "{text}");
    }
    metrics.forget_feed("a");
    assert!(!metrics.encode().unwrap().contains("feed=\"a\""));
}

#[test]
fn only_a_refused_or_noted_canary_moves_the_time_of_the_last_success() {
    let metrics = Metrics::new();
    let interval = Duration::from_secs(30);
    let last = "portcullis_canary_last_success_timestamp_seconds";
    for (state, at, expected) in [
        (CanaryState::Passed, 10, 0),
        (CanaryState::Refused, 20, 20),
        (CanaryState::Unreachable, 30, 20),
        (CanaryState::Noted, 40, 40),
        (CanaryState::Paused, 50, 40),
    ] {
        metrics.canary(state, interval, UnixSeconds(at));
        let text = metrics.encode().unwrap();
        assert!(text.contains(&format!("{last}{{}} {expected}\n")), "{text}");
        let of_state = format!("portcullis_canary_state{{state=\"{}\"}} 1", state.name());
        assert!(text.contains(&of_state), "{text}");
        assert_eq!(text.matches("portcullis_canary_state{").count(), 5);
    }
    metrics.forget_canary();
    assert!(!metrics.encode().unwrap().contains(&format!("{last}{{")));
}

/// `mode off`, for a route or for all.
pub fn off(route: Option<&str>) -> ModeOverride {
    ModeOverride {
        mode: Mode::Off,
        route: route.map(str::to_owned),
        until: None,
    }
}

/// A decision to count.
pub fn a_ban() -> Decision {
    Decision {
        id: reputation::DecisionId(1),
        cidr: "203.0.113.7".parse().unwrap(),
        kind: DecisionKind::Ban,
        origin: Origin::Operator,
        reason: String::new(),
        author: String::new(),
        created: UnixSeconds(1),
        expires: None,
    }
}
