//! The commands of a block, each with what the page shows as its output.

use super::block::Block;

/// What a reader types at once.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    /// Its line in the page, from 1.
    pub line: usize,
    pub text: String,
    /// What the page shows below it; none if it shows nothing.
    pub shown: Option<String>,
}

/// A `console` block has a command after each `$ `, with the lines that a trailing backslash or an unfinished
/// here-document adds; all other lines are output. An `sh` block is one command, and shows no output.
pub fn commands(block: &Block) -> Vec<Command> {
    match block.language.as_str() {
        "sh" => vec![Command {
            line: block.line + 1,
            text: block.text.clone(),
            shown: None,
        }],
        "console" => prompted(block),
        _ => Vec::new(),
    }
}

fn prompted(block: &Block) -> Vec<Command> {
    let mut found: Vec<Command> = Vec::new();
    for (line, text) in (block.line + 1..).zip(block.text.lines()) {
        let is_open = found
            .last()
            .is_some_and(|last| last.shown.is_none() && is_unfinished(&last.text));
        match (text.strip_prefix("$ "), found.last_mut()) {
            (_, Some(last)) if is_open => {
                last.text.push('\n');
                last.text.push_str(text);
            }
            (Some(command), _) => found.push(Command {
                line,
                text: command.to_owned(),
                shown: None,
            }),
            (None, Some(last)) => {
                let shown = last.shown.get_or_insert_default();
                shown.push_str(text);
                shown.push('\n');
            }
            (None, None) => {}
        }
    }
    found
}

fn is_unfinished(command: &str) -> bool {
    if command.ends_with('\\') {
        return true;
    }
    let Some((_, after)) = command.split_once("<<") else {
        return false;
    };
    let end = after.split_whitespace().next().unwrap_or_default();
    let end = end.trim_matches('\'');
    !command.lines().skip(1).any(|line| line == end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<Command> {
        commands(&Block {
            line: 10,
            language: "console".to_owned(),
            text: text.to_owned(),
            marker: None,
        })
    }

    fn command(line: usize, text: &str, shown: Option<&str>) -> Command {
        Command {
            line,
            text: text.to_owned(),
            shown: shown.map(str::to_owned),
        }
    }

    #[test]
    fn each_prompt_begins_a_command_and_what_follows_is_its_output() {
        let found = of("$ cd /tmp\n$ echo a \\\n    b\na b\n$ true\n");
        let expected = [
            command(11, "cd /tmp", None),
            command(12, "echo a \\\n    b", Some("a b\n")),
            command(15, "true", None),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_here_document_belongs_to_its_command() {
        let found = of("$ cat >> file <<'END'\n$ no prompt\nEND\nshown\n");
        let text = "cat >> file <<'END'\n$ no prompt\nEND";
        assert_eq!(found, [command(11, text, Some("shown\n"))]);
    }
}
