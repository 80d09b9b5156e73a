//! "Did you mean": names that look like a mistyped one.

/// Up to `limit` candidates within a third of the text's length (at least two edits), fewest edits
/// first, ties by name. Case is ignored.
#[must_use]
pub fn nearest<'a>(
    text: &str,
    candidates: impl IntoIterator<Item = &'a str>,
    limit: usize,
) -> Vec<&'a str> {
    // Longer texts are no typing mistakes, and the distance is quadratic.
    const LONGEST: usize = 120;
    let typed: Vec<char> = text.to_lowercase().chars().take(LONGEST).collect();
    let allowed = (typed.len() / 3).max(2);
    let mut found: Vec<(usize, &str)> = Vec::new();
    let (mut before, mut last, mut row) = (Vec::new(), Vec::new(), Vec::new());
    for candidate in candidates {
        let name: Vec<char> = candidate.to_lowercase().chars().take(LONGEST).collect();
        if name.len().abs_diff(typed.len()) > allowed {
            continue;
        }
        let edits = distance(&typed, &name, [&mut before, &mut last, &mut row]);
        if edits <= allowed {
            found.push((edits, candidate));
        }
    }
    found.sort_unstable();
    found.dedup();
    found.into_iter().take(limit).map(|(_, name)| name).collect()
}

/// Edits (insert, delete, replace, swap neighbours) from `a` to `b`.
fn distance(a: &[char], b: &[char], [before, last, row]: [&mut Vec<usize>; 3]) -> usize {
    last.clear();
    last.extend(0..=b.len());
    before.clear();
    before.extend(0..=b.len());
    for i in 1..=a.len() {
        row.clear();
        row.push(i);
        for j in 1..=b.len() {
            let same = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + same);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        core::mem::swap(before, last);
        core::mem::swap(last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_likely_name() {
        let names = ["m5.large", "m5a.large", "m6i.large", "c5.large", "p4d.24xlarge"];
        assert_eq!(nearest("m5.lrage", names, 1), ["m5.large"]);
        assert_eq!(nearest("M5.LARGE", names, 1), ["m5.large"]);
        assert_eq!(nearest("zzzzzzzzz", names, 3), [""; 0]);
        assert_eq!(nearest("", ["ab", "abc"], 3), ["ab"]);
    }
}
