//! `cargo xtask manifests`: the manifest that is another file of this repository in another wrapping, which kustomize
//! cannot make. A test compares the two.

use std::fs;

use crate::error::Error;
use crate::say;
use crate::workspace::Workspace;

const RULES: &str = "envoy/monitoring/rules.yaml";
const MANIFEST: &str = "envoy/monitoring/prometheusrule.yaml";
const HEAD: &str = "\
# Made by `cargo xtask manifests` out of rules.yaml: change that one.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: portcullis
  labels: {app.kubernetes.io/name: portcullis}
spec:
";

pub fn write(workspace: &Workspace) -> Result<(), Error> {
    let rules = workspace.root().join(RULES);
    let manifest = workspace.root().join(MANIFEST);
    let text = fs::read_to_string(&rules).map_err(Error::file("cannot read", &rules))?;
    let wrapped = HEAD.to_owned() + &indented(&text);
    fs::write(&manifest, wrapped).map_err(Error::file("cannot write", &manifest))?;
    say::step(format_args!("wrote {MANIFEST}"));
    Ok(())
}

/// The groups, one level deeper; blank lines stay blank.
fn indented(rules: &str) -> String {
    let groups = rules.lines().skip_while(|line| *line != "groups:");
    let deeper = groups.map(|line| match line {
        "" => "\n".to_owned(),
        line => format!("  {line}\n"),
    });
    deeper.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_before_the_groups_stays_out_and_the_rest_moves_as_a_whole() {
        let rules = "# Read me.\n\ngroups:\n- name: a\n\n  rules:\n  - expr: >-\n      up\n";
        let expected = "  groups:\n  - name: a\n\n    rules:\n    - expr: >-\n        up\n";
        assert_eq!(indented(rules), expected);
    }
}
