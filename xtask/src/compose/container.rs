//! A container, as `docker inspect` describes it.

use serde_json::Value;

pub struct Container(Value);

static NOTHING: Value = Value::Null;

impl Container {
    /// Of all that `docker inspect` printed.
    pub fn all(told: &str) -> serde_json::Result<Vec<Self>> {
        let values: Vec<Value> = serde_json::from_str(told)?;
        Ok(values.into_iter().map(Self).collect())
    }

    /// What is said at this place, such as `/State/Status`.
    pub fn at(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).unwrap_or(&NOTHING)
    }

    pub fn text(&self, pointer: &str) -> &str {
        self.at(pointer).as_str().unwrap_or_default()
    }

    /// The service that it is of.
    pub fn service(&self) -> &str {
        self.text("/Config/Labels/com.docker.compose.service")
    }

    pub fn is_well(&self) -> bool {
        let ended = self.text("/State/Status") == "exited" && *self.at("/State/ExitCode") == 0;
        ended || self.text("/State/Health/Status") == "healthy"
    }

    pub fn has_run(&self) -> bool {
        self.text("/State/StartedAt") != "0001-01-01T00:00:00Z"
    }

    /// Whether the list at this place has this member.
    pub fn holds(&self, pointer: &str, wanted: &str) -> bool {
        let list = self.at(pointer).as_array();
        list.is_some_and(|list| list.iter().any(|one| one == wanted))
    }

    /// Ports, and on which addresses of this machine they are published, if at all.
    pub fn ports(&self) -> impl Iterator<Item = (&str, Vec<&str>)> {
        let ports = self.at("/NetworkSettings/Ports").as_object();
        ports.into_iter().flatten().map(|(port, places)| {
            let places = places.as_array().into_iter().flatten();
            let addresses = places.filter_map(|place| place.get("HostIp")?.as_str());
            (port.as_str(), addresses.collect())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_docker_says_of_a_container_is_read() {
        let told = r#"[{
            "Config": {"Labels": {"com.docker.compose.service": "envoy"}},
            "HostConfig": {"CapDrop": ["ALL"]},
            "NetworkSettings": {"Ports": {"10000/tcp": [{"HostIp": "127.0.0.1"}], "9901/tcp": null}},
            "State": {"Status": "running", "Health": {"Status": "starting"}, "StartedAt": "2026-11-22T22:00:00Z"}
        }]"#;
        let all = Container::all(told).unwrap();
        let envoy = all.first().unwrap();
        assert_eq!(
            (envoy.service(), envoy.is_well(), envoy.has_run()),
            ("envoy", false, true)
        );
        assert!(envoy.holds("/HostConfig/CapDrop", "ALL"));
        assert!(!envoy.holds("/HostConfig/SecurityOpt", "ALL"));
        let mut ports: Vec<_> = envoy.ports().collect();
        ports.sort();
        assert_eq!(
            ports,
            [("10000/tcp", vec!["127.0.0.1"]), ("9901/tcp", vec![])]
        );
    }
}
