//! Names that were meant when another was written.

/// The name that is nearest, if one is near at all.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let ranked = known.map(|candidate| (distance(&name.to_lowercase(), &candidate.to_lowercase()), candidate));
    ranked
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| *distance <= candidate.len() / 6 + 1)
        .map(|(_, candidate)| candidate)
}

/// How many characters must be put in, left out or changed.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, character) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for column in 0..right.len() {
            let above = row[column + 1];
            row[column + 1] = (above + 1).min(row[column] + 1).min(diagonal + usize::from(right[column] != character));
            diagonal = above;
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_suggested_only_when_it_is_near() {
        let known = ["succeeded", "failed", "always"];
        for (written, meant) in
            [("suceeded", Some("succeeded")), ("Failled", Some("failed")), ("alway", Some("always")), ("counter", None), ("", None)]
        {
            assert_eq!(nearest(written, known.into_iter()), meant, "{written}");
        }
    }
}
