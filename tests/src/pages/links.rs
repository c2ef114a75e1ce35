//! Links, the anchors they lead to, and commands that a text names in passing.

/// Where a page points.
#[derive(Debug, PartialEq, Eq)]
pub struct Link {
    /// Its line, from 1.
    pub line: usize,
    /// As it is written.
    pub target: String,
}

/// All links outside of code.
pub fn links(page: &str) -> Vec<Link> {
    let mut found = Vec::new();
    for (line, text) in prose(page) {
        // What stands in backquotes is code.
        let text: String = text.split('`').step_by(2).collect::<Vec<_>>().join("`");
        let targets = text.split("](").skip(1);
        let targets = targets.filter_map(|rest| rest.split(')').next());
        found.extend(targets.map(|target| Link {
            line,
            target: target.to_owned(),
        }));
    }
    found
}

/// What a link may name after `#`: each heading as GitHub spells it.
pub fn anchors(page: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let headings = prose(page).filter_map(|(_, line)| {
        let heading = line.trim_start_matches('#').strip_prefix(' ')?;
        line.starts_with('#').then_some(heading)
    });
    for heading in headings {
        let anchor = spelt(heading);
        let same = found.iter().filter(|one| **one == anchor).count();
        found.push(if same == 0 {
            anchor
        } else {
            format!("{anchor}-{same}")
        });
    }
    found
}

/// The commands of ours that stand in the text as code, each with its line.
pub fn named_commands(page: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, text) in prose(page) {
        let code = text.split('`').skip(1).step_by(2);
        let ours =
            code.filter(|code| code.starts_with("portcullis ") || code.starts_with("cargo xtask "));
        found.extend(ours.map(|code| (line, code.to_owned())));
    }
    found
}

fn spelt(heading: &str) -> String {
    let kept = heading.trim().chars().filter_map(|sign| match sign {
        ' ' => Some('-'),
        sign if sign.is_alphanumeric() || sign == '-' || sign == '_' => Some(sign),
        _ => None,
    });
    kept.flat_map(char::to_lowercase).collect()
}

/// The lines outside of fenced blocks.
fn prose(page: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut inside = false;
    (1..).zip(page.lines()).filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        inside ^= is_fence;
        !inside && !is_fence
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_outside_of_code() {
        let page = "See [one](a.md) and [two](#b), not `[x](y)`.\n```sh\n[no](way)\n```\n";
        let targets: Vec<_> = links(page).into_iter().map(|link| link.target).collect();
        assert_eq!(targets, ["a.md", "#b"]);
    }

    #[test]
    fn headings_are_spelt_as_github_does() {
        let page = "# The `sidecar`: a page\n## Once\n## Once\n```sh\n# no heading\n```\n";
        assert_eq!(anchors(page), ["the-sidecar-a-page", "once", "once-1"]);
    }

    #[test]
    fn commands_of_ours_are_found_in_passing() {
        let page = "Run `portcullis mode --clear`, or `curl x`.\n";
        assert_eq!(
            named_commands(page),
            [(1, "portcullis mode --clear".to_owned())]
        );
    }
}
