//! The Markdown summary that a task puts on the run's page.

use std::fmt::Write;

use super::command::is_ignorable;

/// What a task did, as Markdown is made of it.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// The heading.
    pub title: String,
    /// Rows of name and value, in order; values are escaped for Markdown.
    pub facts: Vec<(String, String)>,
    /// Links: text and address.
    pub links: Vec<(String, String)>,
}

impl Summary {
    /// The summary as Markdown. All text is foreign here: it shows as it is written and forms no markup.
    pub fn to_markdown(&self) -> String {
        let mut markdown = format!("### {}\n", escape(&self.title));
        if !self.facts.is_empty() {
            markdown.push_str("\n| | |\n|---|---|\n");
        }
        for (name, value) in &self.facts {
            writeln!(markdown, "| {} | {} |", escape(name), escape(value)).unwrap_or_default();
        }
        if !self.links.is_empty() {
            markdown.push('\n');
        }
        for (text, address) in &self.links {
            match link_address(address) {
                Some(address) => writeln!(markdown, "- [{}]({address})", escape(text)),
                None => writeln!(markdown, "- {}: {}", escape(text), escape(address)),
            }
            .unwrap_or_default();
        }
        markdown
    }
}

/// Escapes text for a Markdown table's cell: punctuation that means something, HTML, and line ends.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.trim().chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\n' => escaped.push_str("<br>"),
            '\t' => escaped.push(' '),
            control if control.is_control() || is_ignorable(control) => {}
            '\u{2028}' | '\u{2029}' => escaped.push(' '),
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '!' | '|' | '~' | '$' => escaped.extend(['\\', character]),
            plain => escaped.push(plain),
        }
    }
    escaped
}

/// An address that cannot leave its parentheses; only https is linked.
fn link_address(address: &str) -> Option<String> {
    if !address.starts_with("https://") {
        return None;
    }
    let mut safe = String::with_capacity(address.len());
    for byte in address.bytes() {
        if matches!(byte, b'!'..=b'~') && !b"()<>\"'\\|`[]".contains(&byte) {
            safe.push(char::from(byte));
        } else {
            write!(safe, "%{byte:02X}").unwrap_or_default();
        }
    }
    Some(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_a_heading_a_table_and_links() {
        let summary = Summary {
            title: "Created lab VM build-01".into(),
            facts: vec![("Id".into(), "/subscriptions/s/labs/my_lab".into()), ("Time".into(), "3 min 12 s".into())],
            links: vec![("Open in the portal".into(), "https://portal.azure.com/#resource/subscriptions/s/labs/my lab".into())],
        };
        insta::assert_snapshot!(summary.to_markdown(), @r"
        ### Created lab VM build-01

        | | |
        |---|---|
        | Id | /subscriptions/s/labs/my\_lab |
        | Time | 3 min 12 s |

        - [Open in the portal](https://portal.azure.com/#resource/subscriptions/s/labs/my%20lab)
        ");
    }

    #[test]
    fn foreign_text_forms_no_markup() {
        let evil = "a|b\n<img src=x onerror=alert(1)> [x](javascript:y) `c` *d*";
        let summary = Summary {
            title: "#".into(),
            facts: vec![("n".into(), evil.into())],
            links: vec![("x".into(), "javascript:alert(1)".into()), ("y".into(), "https://a/) [z](https://b".into())],
        };
        let markdown = summary.to_markdown();
        assert!(markdown.contains(r"| n | a\|b<br>&lt;img src=x onerror=alert(1)&gt; \[x\](javascript:y) \`c\` \*d\* |"), "{markdown}");
        assert!(markdown.contains("- x: javascript:alert(1)"), "{markdown}");
        assert!(markdown.contains("- [y](https://a/%29%20%5Bz%5D%28https://b)"), "{markdown}");
    }
}
