//! `docs/performance.md`: its table of figures and its plots, written by the suite.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use super::{Figure, plot::Plot};
use crate::shell;

const BEGIN: &str = "<!-- figures: written by cargo xtask bench --docs -->";
const END: &str = "<!-- end of figures -->";

fn file() -> PathBuf {
    shell::root().join("docs/performance.md")
}

const HEAD: &str = "| | measured | goal | baseline | ratio |\n|---|---|---|---|---|\n";

/// Puts the figures between the page's marks, and the plots beside it. When not the whole was measured, the rows of the rest stay.
pub fn write(figures: &[Figure], plots: &[Plot], whole: bool) -> Result<()> {
    let page = fs::read_to_string(file())?;
    let (before, rest) = page.split_once(BEGIN).context("docs/performance.md has no place for the figures")?;
    let (old, after) = rest.split_once(END).context("docs/performance.md does not end the figures")?;
    let table = if whole { figures.iter().map(row).collect() } else { renewed(old, figures) };
    fs::write(file(), format!("{before}{BEGIN}\n{HEAD}{table}{END}{after}"))?;
    let folder = shell::root().join("docs/plots");
    fs::create_dir_all(&folder)?;
    plots.iter().try_for_each(|plot| plot.draw(&folder).map(drop))
}

/// The rows of a table with some measured anew, and those that it does not have yet behind them.
fn renewed(table: &str, figures: &[Figure]) -> String {
    let rows = table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| |"));
    let of = |row: &str, figure: &Figure| row.starts_with(&format!("| {} |", figure.name));
    let kept = rows.clone().map(|row| figures.iter().find(|figure| of(row, figure)).map_or_else(|| format!("{row}\n"), self::row));
    let new = figures.iter().filter(|figure| !rows.clone().any(|row| of(row, figure))).map(self::row);
    kept.chain(new).collect()
}

fn row(figure: &Figure) -> String {
    let number =
        |value: Option<f64>, unit: &str| value.map_or(String::new(), |value| format!("{} {unit}", readable(value)).trim().to_owned());
    let goal = figure.goal.map(|goal| format!("≤ {} {}", readable(goal), figure.unit).trim().to_owned()).unwrap_or_default();
    let missed = figure.goal.is_some_and(|goal| figure.value > goal);
    format!(
        "| {} | {} | {goal}{} | {} | {} |\n",
        figure.name,
        number(Some(figure.value), figure.unit),
        if missed { " (missed)" } else { "" },
        number(figure.baseline_value, figure.unit),
        number(figure.ratio, ""),
    )
}

/// Three digits that count.
fn readable(value: f64) -> String {
    let digits = match value.abs() {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits() {
        for (value, text) in [(1234.4, "1234"), (43.04, "43"), (43.06, "43.1"), (0.344, "0.34"), (0.0, "0"), (2000.0, "2000")] {
            assert_eq!(readable(value), text);
        }
    }

    #[test]
    fn what_was_not_measured_stays() {
        let figures = [Figure::new("b", "ms", 2.0, Some(1.0)), Figure::new("c", "", 3.0, None).against(6.0)];
        let table = renewed(&format!("\n{HEAD}| a | 1 |  |  |  |\n| b | 9 ms |  |  |  |\n"), &figures);
        assert_eq!(table, "| a | 1 |  |  |  |\n| b | 2 ms | ≤ 1 ms (missed) |  |  |\n| c | 3 |  | 6 | 0.5 |\n");
    }

    /// Every number that the README states with a unit is one of the page's.
    #[test]
    fn the_readme_states_nothing_that_was_not_measured() {
        let readme = fs::read_to_string(shell::root().join("README.md")).expect("the README");
        let page = fs::read_to_string(file()).expect("the page");
        let measured = readme.split_once("## Measured").expect("a section of figures").1;
        let measured = measured.split_once("\n## ").map_or(measured, |(section, _)| section);
        let rows = measured.lines().filter(|line| line.starts_with('|') && line.contains(|digit: char| digit.is_ascii_digit()));
        let mut stated = 0;
        for row in rows {
            for cell in row.split('|').map(str::trim).skip(2).filter(|cell| !cell.is_empty()) {
                stated += 1;
                assert!(page.contains(&format!("| {cell} |")), "'{cell}' of the README is not in docs/performance.md: {row}");
            }
        }
        assert!(stated > 0, "the README states nothing");
    }
}
