//! The name that somebody meant who gave one that does not exist.

/// The name among `names` that is nearest to `given`, if it is near enough to be what was meant.
/// Among equals it is the first in the alphabet.
pub fn nearest<'a>(given: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = given.chars().count();
    let near = |name: &str| {
        let most = most_edits(name);
        // Names from outside may have any length, and the distance takes the product of both.
        let comparable = length.abs_diff(name.chars().count()) <= most;
        comparable.then(|| distance(name, given)).filter(|edits| *edits <= most)
    };
    let all = names.into_iter().filter_map(|name| near(name).map(|edits| (edits, name)));
    all.min().map(|(_, name)| name)
}

/// Edits to a name that still suggest it: two, and more in a long one.
fn most_edits(name: &str) -> usize {
    (name.len() / 5).max(2)
}

/// The edit distance of Levenshtein.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut before = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (to, above) in b.chars().zip(row.iter().skip(1)) {
            let changed = before + usize::from(from != to);
            left = changed.min(left + 1).min(above + 1);
            before = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 4] = ["port", "output", "listen", "tls_version_client_min"];

    #[test]
    fn distances_are_those_of_levenshtein() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!((distance("", "abc"), distance("abc", ""), distance("é", "e")), (3, 3, 1));
    }

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        assert_eq!(nearest("prot", NAMES), Some("port"));
        assert_eq!(nearest("outputt", NAMES), Some("output"));
        assert_eq!(nearest("verbose", NAMES), None);
        assert_eq!(nearest("", NAMES), None);
    }

    #[test]
    fn long_names_may_differ_in_more() {
        assert_eq!(nearest("tls-version-client-min", NAMES), Some("tls_version_client_min"));
    }

    #[test]
    fn a_huge_name_is_near_nothing_and_costs_nothing() {
        assert_eq!(nearest(&"p".repeat(10_000_000), NAMES), None);
    }
}
