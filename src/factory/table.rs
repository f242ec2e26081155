//! A plan as a table that people read.

use std::fmt::Write as _;

use super::plan::Plan;

/// One line a thing: what, which, where, and why.
pub fn table(plan: &Plan) -> String {
    let mut rows: Vec<[String; 4]> = Vec::new();
    let mut row = |what: &str, name: &str, place: &str, reason: &str| {
        rows.push([what.to_owned(), name.to_owned(), place.rsplit('/').next().unwrap_or_default().to_owned(), reason.to_owned()]);
    };
    for item in &plan.build {
        row("build", item.image_path.as_str(), &item.vm, &item.reason);
    }
    for item in plan.capture.iter().chain(&plan.captured) {
        row(if item.vm.is_empty() { "captured" } else { "capture" }, &item.image, &item.vm, &item.reason);
    }
    for item in &plan.distribute {
        row("distribute", &item.image, &item.lab, &item.reason);
    }
    for item in &plan.retire {
        row("retire", &item.image, &item.lab, &item.reason);
    }
    for item in &plan.clean_up {
        row("clean up", &item.vm, &item.lab, &item.reason);
    }
    for item in &plan.kept {
        row("keep", item.image.as_ref().or(item.vm.as_ref()).map_or("", String::as_str), &item.lab, &item.reason);
    }
    for item in &plan.problems {
        let name = item.image.clone().or(item.image_path.as_ref().map(ToString::to_string)).unwrap_or_default();
        row("cannot", &name, item.lab.as_deref().unwrap_or_default(), &item.error);
    }
    for guard in &plan.guards {
        let reason = format!("{} of {} images would be deleted: that must be allowed", guard.deleted, guard.images);
        row("stop", "", &guard.lab, &reason);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths = [width(0), width(1), width(2)];
    let mut text = String::new();
    for [what, name, place, reason] in &rows {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{what:0$}  {name:1$}  {place:2$}  {reason}", widths[0], widths[1], widths[2]);
    }
    if rows.is_empty() { "There is nothing to do.\n".to_owned() } else { text }
}
