//! Names of objects and what is wrong with them.

/// What is wrong with a DNS-1123 subdomain, with the mend.
pub(in crate::spec::manifest) fn dns_subdomain(name: &str) -> Option<String> {
    if name.len() > 253 {
        return Some(format!("shorten it to 253 characters; it has {}", name.len()));
    }
    name.split('.').find_map(|part| label(part, usize::MAX, name))
}

/// What is wrong with a DNS-1123 label, with the mend.
pub(in crate::spec::manifest) fn dns_label(name: &str) -> Option<String> {
    label(name, 63, name)
}

fn label(part: &str, most: usize, whole: &str) -> Option<String> {
    if part.len() > most {
        return Some(format!("shorten it to {most} characters; it has {}", part.len()));
    }
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = part.as_bytes();
    if bytes.iter().all(|&b| good(b)) && edge(bytes.first()) && edge(bytes.last()) {
        return None;
    }
    let mended: String = whole
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' { c } else { '-' })
        .collect();
    let mended = mended.trim_matches(['-', '.']);
    let mended = if mended.is_empty() { "my-app" } else { mended };
    Some(format!("use small letters, digits and `-`, for example `{mended}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "web-1", "a.b.c", "0"] {
            assert_eq!(dns_subdomain(good), None, "{good}");
        }
        for bad in ["", "Web", "a_b", "-a", "a-", "a..b", "ä"] {
            assert!(dns_subdomain(bad).is_some(), "{bad}");
        }
        assert!(dns_subdomain("My_App").unwrap().contains("`my-app`"));
        assert!(dns_label(&"a".repeat(64)).is_some());
    }
}
