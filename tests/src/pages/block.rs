//! Fenced blocks: where they begin, in which language they are, and what is said of them.

use super::marker::Marker;

/// The languages that blocks may have. `console` and `sh` are run, the others are checked where they can be.
pub const LANGUAGES: [&str; 13] = [
    "console", "sh", "toml", "yaml", "json", "http", "text", "promql", "sql", "nginx", "ini",
    "diff", "mermaid",
];

/// One fenced block.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// The fence's line in the page, from 1.
    pub line: usize,
    pub language: String,
    /// Without the fence's own indentation.
    pub text: String,
    pub marker: Option<Marker>,
}

/// A block that has begun.
struct Open {
    block: Block,
    indentation: usize,
}

/// All blocks of a page, or what is wrong with one, after its line.
pub fn blocks(page: &str) -> Result<Vec<Block>, String> {
    let (mut found, mut open, mut marker) = (Vec::new(), None::<Open>, None);
    for (line, text) in (1..).zip(page.lines()) {
        let trimmed = text.trim_start();
        match (&mut open, trimmed.strip_prefix("```")) {
            (Some(_), Some("")) => found.extend(open.take().map(|open| open.block)),
            (Some(open), _) => open.take(text),
            (None, Some(language)) => {
                open = Some(Open {
                    block: begin(line, language, marker.take())?,
                    indentation: text.len() - trimmed.len(),
                });
            }
            (None, None) if trimmed.is_empty() => {}
            (None, None) => {
                let read = Marker::read(text).transpose();
                marker = read.map_err(|fault| format!("{line}: {fault}"))?;
            }
        }
    }
    match open {
        Some(open) => Err(format!("{}: the block has no end", open.block.line)),
        None => Ok(found),
    }
}

fn begin(line: usize, language: &str, marker: Option<Marker>) -> Result<Block, String> {
    if !LANGUAGES.contains(&language) {
        let fault = format!("{line}: the block's language {language:?} is none of {LANGUAGES:?}");
        return Err(fault);
    }
    Ok(Block {
        line,
        language: language.to_owned(),
        text: String::new(),
        marker,
    })
}

impl Open {
    fn take(&mut self, line: &str) {
        let blank = line.len() - line.trim_start().len();
        let from = self.indentation.min(blank);
        self.block
            .text
            .push_str(line.get(from..).unwrap_or_default());
        self.block.text.push('\n');
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that finds something else shall panic"
)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_their_line_their_language_and_their_marker() {
        let page = "# Page\n\n<!-- not run: needs a cluster -->\n\n```sh\nkubectl get pods\n```\n\
                    1. Then\n\n   ```toml\n   [a]\n     b = 1\n   ```\n";
        let found = blocks(page).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].line, found[0].language.as_str()), (5, "sh"));
        let marker = Marker::NotRun("needs a cluster".to_owned());
        assert_eq!(found[0].marker, Some(marker));
        assert_eq!(
            (found[1].line, found[1].text.as_str()),
            (10, "[a]\n  b = 1\n")
        );
        assert_eq!(found[1].marker, None);
    }

    #[test]
    fn a_marker_counts_for_the_next_block_only_if_nothing_stands_between() {
        let page = "<!-- ends with: 78 -->\nText.\n```sh\nfalse\n```\n";
        assert_eq!(blocks(page).unwrap()[0].marker, None);
    }

    #[test]
    fn what_cannot_be_read_is_a_fault_with_its_line() {
        let faults = [
            ("```\ntrue\n```\n", "1: the block's language \"\""),
            ("\n```bash\ntrue\n```\n", "2: the block's language \"bash\""),
            ("```sh\ntrue\n", "1: the block has no end"),
            ("<!-- not run: no time -->\n", "1: \"no time\" is none of"),
            (
                "<!-- ends with: well -->\n",
                "1: \"well\" is no exit status",
            ),
        ];
        for (page, fault) in faults {
            let found = blocks(page).unwrap_err();
            assert!(found.starts_with(fault), "{found}");
        }
    }
}
