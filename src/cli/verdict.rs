//! What came of a check, as text, as JUnit XML and as annotations of GitHub.

use std::fmt::Write as _;

use crate::capture::check::{Offence, Outcome, Report, RuleKind};
use crate::cli::words::visible;
use crate::limits::CHECK_LISTED;
use crate::notice::{count, count_matches};

/// Text from outside, safe for a terminal and for the log of a CI system: GitHub Actions, Azure
/// Pipelines and TeamCity take commands that begin with `##` anywhere in a line.
fn shown(text: &str) -> String {
    visible(text).replace("##", "#\\x23")
}

/// The rule as it was given.
fn rule(outcome: &Outcome) -> String {
    let flag = match outcome.rule.kind {
        RuleKind::FailOn => "--fail-on",
        RuleKind::Require => "--require",
    };
    format!("{flag} '{}'", shown(outcome.rule.filter.text()))
}

/// Why the rule does not hold.
fn reason(outcome: &Outcome, report: &Report) -> String {
    match outcome.rule.kind {
        RuleKind::FailOn => count_matches(outcome.matches, report.flows, "flow"),
        RuleKind::Require => format!("none of {} matches", count(report.flows, "flow")),
    }
}

/// A line about a flow.
fn line(offence: &Offence) -> String {
    let Offence { place, method, url, status, error } = offence;
    let status = status.map_or("---".to_owned(), |status| status.to_string());
    let mut line = format!("{}  {} {status} {}", shown(place), shown(method), shown(url));
    if let Some(error) = error {
        let _ = write!(line, "  ({})", shown(error));
    }
    line
}

/// What is listed of the flows that match, and how many are not listed.
fn lines(outcome: &Outcome) -> Vec<String> {
    let mut lines: Vec<_> = outcome.offences.iter().map(line).collect();
    let listed = outcome.offences.len() as u64;
    if !lines.is_empty() && outcome.matches > listed {
        lines.push(format!("and {} more", outcome.matches - listed));
    }
    lines
}

/// The rules that do not hold.
fn unmet(report: &Report) -> impl Iterator<Item = &Outcome> {
    report.outcomes.iter().filter(|outcome| !outcome.holds())
}

/// Whether all rules hold.
pub(super) fn holds(report: &Report) -> bool {
    unmet(report).next().is_none()
}

/// What came of it, in one sentence.
pub(super) fn summary(report: &Report) -> String {
    let rules = report.outcomes.len() as u64;
    let unmet = unmet(report).count();
    match unmet {
        0 => format!("all {} hold for {}", count(rules, "check"), count(report.flows, "flow")),
        _ => format!("{unmet} of {} failed", count(rules, "check")),
    }
}

/// What could not be looked at, a line for each; nothing where all was.
fn unread(report: &Report) -> Vec<String> {
    let all: Vec<_> = report.missing.iter().chain(&report.unread).collect();
    let mut lines: Vec<_> = all.iter().take(CHECK_LISTED).map(|line| shown(line)).collect();
    if all.len() > CHECK_LISTED {
        lines.push(format!("and {} more", all.len() - CHECK_LISTED));
    }
    lines
}

/// The whole as text: a line for each rule, those that fail with what they found.
pub(super) fn text(report: &Report) -> String {
    let mut text = String::new();
    for outcome in &report.outcomes {
        if outcome.holds() {
            let _ = writeln!(text, "ok    {}", rule(outcome));
            continue;
        }
        let _ = writeln!(text, "FAIL  {}: {}", rule(outcome), reason(outcome, report));
        for line in lines(outcome) {
            let _ = writeln!(text, "      {line}");
        }
    }
    text
}

/// What must hold besides the rules.
const ALL_IS_READ: &str = "all that was captured can be read";

/// JUnit XML as CI systems read it: a test case for each rule, and one for what could not be looked
/// at where there was some.
pub(super) fn junit(report: &Report) -> String {
    let unread = unread(report);
    let errors = usize::from(!unread.is_empty());
    let (tests, failures) = (report.outcomes.len() + errors, unmet(report).count());
    let counts = format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\"");
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(xml, "<testsuites name=\"flowtap\" {counts}>");
    let _ = writeln!(xml, "  <testsuite name=\"flowtap check\" {counts}>");
    for outcome in &report.outcomes {
        let name = escaped(&rule(outcome));
        let _ = write!(xml, "    <testcase classname=\"flowtap\" name=\"{name}\"");
        if outcome.holds() {
            xml.push_str("/>\n");
            continue;
        }
        let message = escaped(&reason(outcome, report));
        let _ = write!(xml, ">\n      <failure message=\"{message}\" type=\"check\">");
        xml.push_str(&escaped(&lines(outcome).join("\n")));
        xml.push_str("</failure>\n    </testcase>\n");
    }
    if !unread.is_empty() {
        let _ = write!(
            xml,
            "    <testcase classname=\"flowtap\" name=\"{ALL_IS_READ}\">\n      \
             <error message=\"not all could be checked\" type=\"check\">"
        );
        xml.push_str(&escaped(&unread.join("\n")));
        xml.push_str("</error>\n    </testcase>\n");
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

/// Text in XML 1.0, in content and in attributes with double quotes. [`shown`] has left no
/// character that XML cannot hold but these two.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            character => escaped.push(character),
        }
    }
    escaped
}

/// Workflow commands of GitHub Actions: an error annotation for each rule that does not hold, and
/// one for what could not be looked at.
pub(super) fn github(report: &Report) -> String {
    let mut text = String::new();
    for outcome in unmet(report) {
        let title = command_text(&rule(outcome)).replace(':', "%3A").replace(',', "%2C");
        let mut message = reason(outcome, report);
        for line in lines(outcome) {
            message.push('\n');
            message.push_str(&line);
        }
        let _ = writeln!(text, "::error title=flowtap {title}::{}", command_text(&message));
    }
    let unread = unread(report);
    if !unread.is_empty() {
        let message = format!("not all could be checked\n{}", unread.join("\n"));
        let _ = writeln!(text, "::error title=flowtap check::{}", command_text(&message));
    }
    text
}

/// Text inside of a workflow command.
fn command_text(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::check::Rule;
    use crate::flow::filter::Filter;

    fn report() -> Report {
        let rule = |kind, text: &str| Rule { kind, filter: Filter::parse(text).unwrap().unwrap() };
        let outcome =
            |kind, text, matches, offences| Outcome { rule: rule(kind, text), matches, offences };
        let offence = Offence {
            place: "cap\x1bture.zip t_0002".into(),
            method: "GET".into(),
            url: "https://a.example/?q=<\"&%,:\n\u{1b}[2J\u{ffff}###[stop-commands]x".into(),
            status: None,
            error: Some("connection reset".into()),
        };
        Report {
            flows: 3,
            outcomes: vec![
                outcome(RuleKind::FailOn, "~c 500", 0, Vec::new()),
                outcome(RuleKind::FailOn, "~u 'a,b:c%'", 2, vec![offence]),
                outcome(RuleKind::Require, "~d api.example", 0, Vec::new()),
            ],
            ..Report::default()
        }
    }

    #[test]
    fn text_has_a_line_for_each_rule_and_each_flow_that_should_not_be() {
        let expected = "ok    --fail-on '~c 500'\n\
            FAIL  --fail-on '~u 'a,b:c%'': 2 of 3 flows match\n      \
            cap\\x1bture.zip t_0002  GET --- \
            https://a.example/?q=<\"&%,:\\x0a\\x1b[2J\u{ffff}#\\x23#[stop-commands]x  \
            (connection reset)\n      \
            and 1 more\n\
            FAIL  --require '~d api.example': none of 3 flows matches\n";
        assert_eq!(text(&report()), expected);
        assert_eq!(summary(&report()), "2 of 3 checks failed");
    }

    #[test]
    fn xml_is_well_formed_whatever_was_captured() {
        let xml = junit(&report());
        assert!(
            xml.contains(r#"<testsuite name="flowtap check" tests="3" failures="2" errors="0">"#)
        );
        assert!(xml.contains("?q=&lt;&quot;&amp;%,:\\x0a\\x1b[2J\u{fffd}"), "{xml}");
        assert!(xml.contains(r#"name="--fail-on '~c 500'"/>"#), "{xml}");
    }

    #[test]
    fn an_annotation_is_one_line_and_ends_no_command() {
        let annotations = github(&report());
        assert_eq!(annotations.lines().count(), 2);
        let first = annotations.lines().next().unwrap();
        let title = "::error title=flowtap --fail-on '~u 'a%2Cb%3Ac%25''::2 of 3 flows match%0A";
        assert!(first.starts_with(title), "{first}");
        assert!(first.ends_with("%0Aand 1 more"), "{first}");
    }

    #[test]
    fn no_form_says_that_all_is_well_where_not_all_was_read() {
        let line = |number| format!("cannot read t_{number}: \x1b]]>");
        let unread = (1..=CHECK_LISTED + 1).map(line).collect();
        let report = Report { unread, missing: vec!["part 2".into()], ..Report::default() };
        let xml = junit(&report);
        assert!(xml.contains("tests=\"1\" failures=\"0\" errors=\"1\""), "{xml}");
        assert!(xml.contains("type=\"check\">part 2\ncannot read t_1: \\x1b]]&gt;\n"), "{xml}");
        assert!(xml.contains("\nand 2 more</error>"), "{xml}");
        let annotations = github(&report);
        assert_eq!(annotations.lines().count(), 1);
        assert!(annotations.contains("check::not all could be checked%0Apart 2%0A"));
    }
}
