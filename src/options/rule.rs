//! The rules of `block_list`, written as parts behind a separator: `/filter/status`.
//!
//! The first character is the separator, any character: a rule whose filter holds `/` is written
//! with another, as `|~u /a/b|404`.

use crate::flow::filter::Filter;

/// Statuses that end an exchange, and so can answer it (RFC 9110 section 15).
const STATUSES: std::ops::RangeInclusive<u16> = 200..=599;

/// A rule of `block_list`.
#[derive(Clone, Debug)]
pub struct BlockRule {
    /// Which requests.
    pub filter: Filter,
    /// The status that they are answered with; 444 closes the connection.
    pub status: u16,
    /// The rule as it was written.
    pub text: String,
}

impl BlockRule {
    /// Reads a rule.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut characters = text.chars();
        let separator = characters.next().ok_or("it is empty")?;
        let parts: Vec<_> = characters.as_str().splitn(3, separator).collect();
        let (filter, status) = match parts.as_slice() {
            [filter, status] => (filter, status),
            [_] => return Err(format!("a second '{separator}' and a status are missing")),
            _ => {
                return Err(format!(
                    "'{separator}' parts a filter and a status, and stands there too often; begin \
                     the rule with a character that is not in the filter, as in |~u /a/b|404"
                ));
            }
        };
        let status = status
            .parse()
            .ok()
            .filter(|status| STATUSES.contains(status))
            .ok_or_else(|| format!("the status is a number from 200 to 599, not '{status}'"))?;
        let filter = Filter::parse(filter)
            .map_err(|error| format!("the filter is wrong {error}"))?
            .ok_or("the filter is missing; ~all matches every request")?;
        Ok(BlockRule { filter, status, text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(rule: &str) -> String {
        BlockRule::parse(rule).unwrap_err()
    }

    #[test]
    fn any_character_parts_a_rule() {
        for rule in ["/~d example/404", "|~d example|404", "ü~d exampleü404", ":~d example:404"] {
            let read = BlockRule::parse(rule).unwrap();
            assert_eq!((read.filter.text(), read.status), ("~d example", 404), "{rule}");
            assert_eq!(read.text, rule);
        }
    }

    #[test]
    fn a_rule_that_lacks_something_says_what() {
        assert_eq!(reason(""), "it is empty");
        assert!(reason("x404").contains("a second 'x'"));
        assert!(reason("/~all").contains("status are missing"));
        assert!(reason("//404").contains("~all"));
        assert!(reason("/~u /a/404").contains("too often"));
        assert!(reason("/~all/ok").contains("not 'ok'"));
    }

    #[test]
    fn a_status_is_one_that_ends_an_exchange() {
        for status in [200, 204, 444, 599] {
            assert_eq!(BlockRule::parse(&format!("/~all/{status}")).unwrap().status, status);
        }
        for status in ["0", "101", "199", "600", "65737", "-1", "2e2", ""] {
            assert!(reason(&format!("/~all/{status}")).contains("from 200 to 599"), "{status}");
        }
    }
}
