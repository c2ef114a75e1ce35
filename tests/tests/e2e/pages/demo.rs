//! The first command of README.md, as a reader types it: in the checkout, and on the ports that it always takes.
//! Where the system permits, in a network of its own, so that whoever else uses these ports is not in the way.

use std::process::Command;

use kit::pages::{Page, commands, is_like};
use kit::parts;

/// What cargo says itself, and how large the plugin is by now, README.md leaves out.
fn without_what_building_says(text: &str) -> String {
    let builds = [
        "Finished",
        "Compiling",
        "Blocking",
        "Downloaded",
        "Downloading",
    ];
    let is_kept = |line: &&str| {
        let first = line.split_whitespace().next().unwrap_or_default();
        !builds.contains(&first) && !line.contains(" KiB (")
    };
    text.lines()
        .filter(is_kept)
        .map(|line| format!("{line}\n"))
        .collect()
}

/// A command line in a network of its own, if the system permits that; else as it is.
fn apart(line: &str) -> Command {
    let own = ["--map-root-user", "--net", "bash", "-c"];
    let probe = Command::new("unshare")
        .args(own)
        .arg("ip link set lo up")
        .output();
    let mut command;
    if probe.is_ok_and(|output| output.status.success()) {
        command = Command::new("unshare");
        command
            .args(own)
            .arg(format!("ip link set lo up && {line}"));
    } else {
        command = Command::new("bash");
        command.args(["-c", line]);
    }
    command
}

#[test]
fn the_proof_in_the_readme_holds_and_prints_what_is_shown() {
    let page = Page::read("README.md").unwrap();
    let blocks = page.run_by(file!()).unwrap();
    let all: Vec<_> = blocks.iter().flat_map(commands).collect();
    let [proof] = all.as_slice() else {
        panic!("{all:?}");
    };
    assert_eq!(proof.text, "cargo xtask demo --check");
    let output = apart(&proof.text)
        .current_dir(parts::in_checkout("."))
        .output()
        .unwrap();
    let said = [output.stderr, output.stdout].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{said}");
    let shown = without_what_building_says(proof.shown.as_deref().unwrap());
    assert!(
        is_like(&shown, &without_what_building_says(&said)),
        "{said}"
    );
}
