//! The documentation at work: every command in it is run, what it shows is compared, configurations are checked,
//! links are followed.

mod checks;
mod demo;
mod desk;
mod ext_authz;
mod world;

use kit::pages::{Block, Command, Marker, Page, Shown, commands, is_like};
use kit::{Shell, parts};

pub use desk::desk;
use world::World;
pub use world::edge_with;

/// What is repeated until it shows what it shall: it only looks, and what was ordered takes its time.
const LOOKS: [&str; 10] = [
    "curl -",
    "curl h",
    "grep ",
    "portcullis explain",
    "portcullis feeds",
    "portcullis check ",
    "portcullis decisions",
    "portcullis history",
    "portcullis providers",
    "portcullis secrets",
];

#[tokio::test]
async fn every_command_of_the_documentation_runs_and_prints_what_is_shown() {
    let mut world = World::make().await;
    world.let_something_happen().await;
    let mut faults = Vec::new();
    for page in &Page::all().unwrap() {
        let blocks = page.blocks().unwrap();
        let blocks: Vec<_> = blocks.iter().filter(|block| is_run(block)).collect();
        if blocks.is_empty() {
            continue;
        }
        if blocks.iter().any(|block| block.text.contains("cscli ")) {
            world.with_crowdsec().await;
        }
        let begun = std::time::Instant::now();
        let mut shell = world.shell();
        for block in blocks {
            world.move_curl();
            faults.extend(run(page, block, &mut shell).await);
        }
        if world.has_modes().await {
            faults.push(format!("{}: leaves a mode behind", page.path));
        }
        world.tidy().await;
        println!("{}: {:?}", page.path, begun.elapsed());
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

fn is_run(block: &Block) -> bool {
    let elsewhere = matches!(block.marker, Some(Marker::NotRun(_) | Marker::RunBy(_)));
    !elsewhere && !commands(block).is_empty()
}

/// Runs a block; says what was not as the page shows it. Nothing of it is run after a fault.
async fn run(page: &Page, block: &Block, shell: &mut Shell) -> Option<String> {
    let all = commands(block);
    for command in &all {
        let expected = match block.marker {
            Some(Marker::EndsWith(status)) if Some(command) == all.last() => status,
            _ => 0,
        };
        if let Some(fault) = perform(command, block, expected, shell).await {
            let place = format!("{}:{}", page.path, command.line);
            return Some(format!("{place}: {}\n{fault}", command.text.trim_end()));
        }
    }
    None
}

async fn perform(
    command: &Command,
    block: &Block,
    expected: i32,
    shell: &mut Shell,
) -> Option<String> {
    let looks =
        LOOKS.iter().any(|look| command.text.starts_with(look)) && !command.text.contains(" -d ");
    let mut left = if looks { 50 } else { 1 };
    loop {
        let said = match block.language.as_str() {
            "sh" => shell.run_all(&command.text).await.unwrap(),
            _ => shell.run(&command.text).await.unwrap(),
        };
        let shown = command.shown.as_deref();
        let as_shown = shown.is_none_or(|shown| is_like(shown, &said.text));
        if said.status == expected && as_shown {
            return None;
        }
        left -= 1;
        if left == 0 {
            let shown = shown.map(|shown| format!("it shows:\n{}\n", Shown::of(shown).text()));
            return Some(format!(
                "ends with {}, not {expected}\n{}it prints:\n{}",
                said.status,
                shown.unwrap_or_default(),
                said.text
            ));
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[test]
fn what_is_said_to_run_elsewhere_is_run_there() {
    for page in Page::all().unwrap() {
        for block in page.blocks().unwrap() {
            let Some(Marker::RunBy(place)) = &block.marker else {
                continue;
            };
            let at = format!("{}:{}: {place}", page.path, block.line);
            let text = std::fs::read_to_string(parts::in_checkout(place));
            let text = text.unwrap_or_else(|error| panic!("{at}: {error}"));
            if place.ends_with(".rs") {
                // It asks this page for its block, so that what is shown there is what it compares.
                let path = format!("\"{}\"", page.path);
                let asks = text.contains("run_by(file!())") && text.contains(&path);
                assert!(asks && text.contains("is_like("), "{at} compares nothing");
                continue;
            }
            for command in commands(&block) {
                let held = text.contains(&command.text);
                assert!(held, "{at} does not hold {:?}", command.text);
                assert_eq!(command.shown, None, "{at} cannot compare what is shown");
            }
        }
    }
}
