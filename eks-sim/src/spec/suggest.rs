//! "Did you mean": the nearest of some allowed names.

/// Edit distance with transpositions of neighbours (optimal string alignment), letter case worth
/// nothing; `None` above `bound`.
#[must_use]
pub fn distance(a: &str, b: &str, bound: usize) -> Option<usize> {
    let a: Vec<char> = a.chars().map(|c| c.to_ascii_lowercase()).collect();
    let b: Vec<char> = b.chars().map(|c| c.to_ascii_lowercase()).collect();
    // Very long texts are never misspellings of a field name.
    if a.len().abs_diff(b.len()) > bound || a.len().max(b.len()) > 128 {
        return None;
    }
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut row = vec![i + 1; b.len() + 1];
        for (j, &y) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && x == b[j - 1] && a[i - 1] == y {
                best = best.min(before[j - 1] + 1);
            }
            row[j + 1] = best;
        }
        before = core::mem::replace(&mut last, row);
    }
    last.last().copied().filter(|&d| d <= bound)
}

/// The allowed name nearest to `name`, if one is near enough to be what was meant.
pub fn nearest<'a>(name: &str, allowed: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let bound = (name.chars().count() / 3).clamp(1, 3);
    allowed
        .into_iter()
        .filter_map(|a| distance(name, a, bound).map(|d| (d, a)))
        .min_by(|x, y| x.0.cmp(&y.0))
        .map(|(_, a)| a)
}

/// `a`, `b` or `c`; long lists are cut.
#[must_use]
pub fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const MOST: usize = 24;
    let names: Vec<&str> = names.into_iter().collect();
    let shown: Vec<String> = names.iter().take(MOST).map(|n| format!("`{n}`")).collect();
    match (shown.split_last(), names.len() > MOST) {
        (None, _) => "nothing".to_owned(),
        (Some(_), true) => format!("{} and {} more", shown.join(", "), names.len() - MOST),
        (Some((one, [])), false) => one.clone(),
        (Some((last, rest)), false) => format!("{} or {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(distance("replcas", "replicas", 2), Some(1));
        assert_eq!(distance("relpicas", "replicas", 2), Some(1));
        assert_eq!(distance("maxsize", "maxSize", 2), Some(0));
        assert_eq!(distance("abc", "xyz", 2), None);
        assert_eq!(nearest("instanceType", ["name", "instanceTypes"]), Some("instanceTypes"));
        assert_eq!(nearest("env", ["rbd", "csi"]), None);
        assert_eq!(list(["a", "b", "c"]), "`a`, `b` or `c`");
    }
}
