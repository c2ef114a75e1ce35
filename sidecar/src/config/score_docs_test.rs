//! `docs/score.md` says how much each known source weighs, and what that comes to.

use std::collections::BTreeSet;
use std::time::Duration;

use reputation::score::{Indicator, Stance, Weight, combine};
use reputation::{Policy, UnixSeconds};

use super::*;

const SCORE: &str = include_str!("../../../docs/score.md");
const PROVIDERS: &str = include_str!("../../../docs/providers.md");

/// Name, family, weight, half-life.
type Row = [String; 4];

fn section(from: &str, to: &str) -> &'static str {
    let (_, after) = SCORE.split_once(from).unwrap();
    after.split_once(to).unwrap().0
}

fn cells(line: &str) -> Vec<String> {
    let cells = line.trim_matches('|').split('|');
    cells
        .map(|cell| cell.trim().trim_matches('`').to_owned())
        .collect()
}

fn configured() -> BTreeSet<Row> {
    let mut rows = BTreeSet::new();
    for block in [SCORE, PROVIDERS]
        .iter()
        .flat_map(|text| text.split("```toml\n").skip(1))
    {
        let block = block.split("```").next().unwrap();
        let config = Config::parse(block, std::iter::empty());
        let config = config.unwrap_or_else(|faults| panic!("{faults}\n{block}"));
        for provider in config.providers {
            let half_life = provider.half_life.map(|half_life| {
                crate::duration::show(Duration::from_secs(half_life.as_secs().into()))
            });
            rows.insert([
                provider.name.to_string(),
                provider.family,
                provider.weight.get().to_string(),
                half_life.unwrap_or_else(|| "off".to_owned()),
            ]);
        }
        for feed in config.feeds {
            if let FeedRole::Score { weight, .. } = feed.role {
                let weight = weight.get().to_string();
                rows.insert([feed.name, feed.family, weight, "off".to_owned()]);
            }
        }
    }
    rows
}

#[test]
fn the_table_of_weights_is_what_the_configurations_of_the_documents_amount_to() {
    let table = section("## Shipped weights", "## Coverage");
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let stated: BTreeSet<Row> = rows
        .map(|line| <[String; 4]>::try_from(cells(line)[..4].to_vec()).unwrap())
        .collect();
    assert_eq!(stated, configured());
}

#[test]
fn the_worked_examples_come_out_as_they_are_stated() {
    let table = section("| words (weight × score) | score |", "## Shipped weights");
    let rows: Vec<_> = table
        .lines()
        .filter(|line| line.contains('×'))
        .map(cells)
        .collect();
    assert!(rows.len() >= 8, "{rows:?}");
    for row in rows {
        let word = |(at, word): (usize, &str)| {
            let (weight, score) = word.split_once(" × ").unwrap();
            Indicator {
                source: at.to_string(),
                family: at.to_string(),
                score: score.parse().unwrap(),
                stance: Stance::Rated,
                weight: Weight::new(weight.parse().unwrap()).unwrap(),
                categories: Vec::new(),
                observed: None,
                half_life: None,
                expires: None,
            }
        };
        let words: Vec<_> = row[0].split(", ").enumerate().map(word).collect();
        let score = combine(&words, words.len(), Policy::default(), UnixSeconds(0));
        assert_eq!(score.value.to_string(), row[1], "{row:?}");
    }
}
