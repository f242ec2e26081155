//! Markdown for a terminal: the little of it that summaries are made of. What is not understood stays as it is.

/// The lines to show: headings without their signs, tables as aligned columns, links as text and address.
pub fn lines(markdown: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut table: Vec<Vec<String>> = Vec::new();
    for line in markdown.lines() {
        if let Some(cells) = cells(line) {
            table.push(cells);
            continue;
        }
        lines.append(&mut aligned(&std::mem::take(&mut table)));
        let text = line.trim_end();
        let heading = text.trim_start_matches('#');
        let text = if heading.len() < text.len() && heading.starts_with(' ') { heading.trim_start() } else { text };
        lines.push(plain(text));
    }
    lines.append(&mut aligned(&table));
    // One empty line parts blocks; tables and headings bring their own.
    lines.dedup_by(|line, before| line.is_empty() && before.is_empty());
    lines.retain(|line| !line.is_empty());
    lines
}

/// The cells of a table's row. A cell may hold an escaped bar.
fn cells(line: &str) -> Option<Vec<String>> {
    let row = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    let mut cells = vec![String::new()];
    let mut escaped = false;
    for character in row.chars() {
        let last = cells.len() - 1;
        if character == '|' && !escaped {
            cells.push(String::new());
        } else {
            cells[last].push(character);
        }
        escaped = character == '\\' && !escaped;
    }
    Some(cells.iter().map(|cell| plain(cell.trim())).collect())
}

fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let is_rule = |row: &&Vec<String>| row.iter().all(|cell| cell.chars().all(|character| matches!(character, '-' | ':' | ' ')));
    let rows: Vec<_> = rows.iter().filter(|row| !is_rule(row)).collect();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let row_text = |row: &Vec<String>| {
        let cells: Vec<_> = row.iter().enumerate().map(|(column, cell)| format!("{cell:width$}", width = width(column))).collect();
        format!("  {}", cells.join("  ")).trim_end().to_owned()
    };
    rows.iter().map(|row| row_text(row)).collect()
}

/// Text without escapes; a link becomes its text and its address.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        match character {
            '\\' => {
                let next = rest.clone().next();
                match next {
                    Some(escaped) if escaped.is_ascii_punctuation() => {
                        plain.push(escaped);
                        rest.next();
                    }
                    _ => plain.push('\\'),
                }
            }
            '[' => match link(rest.as_str()) {
                Some((text, address, after)) => {
                    plain.extend([text, ": ", address]);
                    rest = after.chars();
                }
                None => plain.push('['),
            },
            _ => plain.push(character),
        }
    }
    for (entity, character) in [("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")] {
        plain = plain.replace(entity, character);
    }
    plain
}

/// `text](address)` and what follows it.
fn link(text: &str) -> Option<(&str, &str, &str)> {
    let (text, rest) = text.split_once("](")?;
    let (address, after) = rest.split_once(')')?;
    (!text.contains(['[', ']']) && !address.contains(char::is_whitespace)).then_some((text, address, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_read_well_without_a_renderer() {
        let markdown = "### Created 'vm\\_1'\n\n| | |\n|---|---|\n| Id | /a/b |\n| State \\| more | done \\(well\\) |\n\n[Portal](https://portal/#x) · [Docs](https://docs)\n";
        assert_eq!(
            lines(markdown),
            ["Created 'vm_1'", "  Id            /a/b", "  State | more  done (well)", "Portal: https://portal/#x · Docs: https://docs"]
        );
    }

    #[test]
    fn what_is_no_markdown_stays_as_it_is() {
        for text in ["#5 is done", "a [b] c", "C:\\temp", "| not a table", "[x](a b)"] {
            assert_eq!(lines(text), [text], "{text}");
        }
        assert_eq!(lines(""), Vec::<String>::new());
    }
}
