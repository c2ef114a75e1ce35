//! What stands under a heading of a page.

use serde_json::Value;

use super::Page;
use crate::error::KitError;

impl Page {
    /// The one block of YAML below the heading of these words, before the next heading.
    pub fn block(&self, heading: &str) -> Result<String, KitError> {
        let missing = |what: &str| self.fault(&format!(" no {what} under {heading:?}"));
        let section = self.section(heading).ok_or_else(|| missing("text"))?;
        let mut blocks = section.split("```yaml\n").skip(1);
        let block = blocks.next().and_then(|rest| rest.split("```").next());
        match (block, blocks.next()) {
            (Some(block), None) => Ok(block.to_owned()),
            (None, _) => Err(missing("block")),
            (Some(_), Some(_)) => Err(missing("single block")),
        }
    }

    /// As [`Self::block`], read.
    pub fn yaml(&self, heading: &str) -> Result<Value, KitError> {
        let block = self.block(heading)?;
        serde_norway::from_str(&block)
            .map_err(|error| self.fault(&format!(" under {heading:?}: {error}")))
    }

    fn section(&self, heading: &str) -> Option<&str> {
        let is_heading =
            |line: &str| line.starts_with('#') && line.trim_start_matches('#').trim() == heading;
        let mut at = 0;
        let start = self.text.split_inclusive('\n').find_map(|line| {
            at += line.len();
            is_heading(line.trim_end()).then_some(at)
        })?;
        let rest = self.text.get(start..)?;
        rest.split("\n#").next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_found_under_its_heading_and_no_other() {
        let page = Page {
            path: "x.md".to_owned(),
            text: "# A\n\n## B\n\n```yaml\na: 1\n```\n\n## C\ntext\n\n### B and C\n```yaml\n- 2\n```\n".to_owned(),
        };
        assert_eq!(page.yaml("B").unwrap(), serde_json::json!({"a": 1}));
        assert_eq!(page.yaml("B and C").unwrap(), serde_json::json!([2]));
        assert!(page.block("A").is_err() && page.block("C").is_err() && page.block("D").is_err());
    }
}
