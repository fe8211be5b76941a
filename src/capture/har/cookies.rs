//! Cookies taken apart (RFC 6265 sections 4.1, 4.2 and 5.1.1).

use serde::Serialize;
use time::{Date, Month, OffsetDateTime, Time};

use crate::capture::bundle::date_time;
use crate::flow::head::Field;

/// A cookie, with the attributes that were given.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cookie {
    /// The name; empty where there is none.
    pub name: String,
    /// The value.
    pub value: String,
    /// Path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// When it ends, as HAR has it, by Max-Age or Expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// HttpOnly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_only: Option<bool>,
    /// Secure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secure: Option<bool>,
    /// SameSite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub same_site: Option<String>,
}

/// The cookies of a request.
pub fn sent(fields: &[Field]) -> Vec<Cookie> {
    let values = named(fields, "cookie").flat_map(|value| value.split(';'));
    values.map(str::trim).filter(|pair| !pair.is_empty()).map(cookie).collect()
}

/// The cookies of a response to a request that began at this time, in microseconds since the
/// Unix epoch.
pub fn received(fields: &[Field], began_us: u64) -> Vec<Cookie> {
    named(fields, "set-cookie").map(|value| set(value, began_us)).collect()
}

fn named<'a>(fields: &'a [Field], name: &'a str) -> impl Iterator<Item = &'a str> {
    let named = fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
    named.map(|field| field.value.as_str())
}

/// A pair; one without `=` is a value without a name, as browsers have it.
fn cookie(pair: &str) -> Cookie {
    let (name, value) = pair.split_once('=').unwrap_or(("", pair));
    Cookie { name: name.trim().to_owned(), value: value.trim().to_owned(), ..Cookie::default() }
}

fn set(value: &str, began_us: u64) -> Cookie {
    let mut parts = value.split(';');
    let mut cookie = cookie(parts.next().unwrap_or_default().trim());
    let mut lives_until = None;
    for attribute in parts {
        let (name, value) = attribute.split_once('=').unwrap_or((attribute, ""));
        let value = value.trim();
        match name.trim().to_ascii_lowercase().as_str() {
            "path" => cookie.path = Some(value.to_owned()),
            "domain" => cookie.domain = Some(value.to_owned()),
            "expires" => cookie.expires = expires(value),
            "max-age" => lives_until = value.parse().ok().map(|age| until(began_us, age)),
            "httponly" => cookie.http_only = Some(true),
            "secure" => cookie.secure = Some(true),
            "samesite" => cookie.same_site = Some(value.to_owned()),
            _ => {}
        }
    }
    // Max-Age goes before Expires (section 4.1.2.2).
    cookie.expires = lives_until.or(cookie.expires);
    cookie
}

fn until(began_us: u64, age_s: i64) -> String {
    let age_us = age_s.max(0).unsigned_abs().saturating_mul(1_000_000);
    date_time(began_us.saturating_add(age_us).min(LAST_US))
}

/// The last microsecond of the year 9999, the last one with four digits.
const LAST_US: u64 = 253_402_300_799_999_999;

/// A cookie-date, in whatever form (section 5.1.1).
fn expires(text: &str) -> Option<String> {
    let is_delimiter = |letter: char| !letter.is_ascii_alphanumeric() && letter != ':';
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    for token in text.split(is_delimiter).filter(|token| !token.is_empty()) {
        let number = token.parse::<u8>().ok();
        if time.is_none() && token.contains(':') {
            time = time_of_day(token);
        } else if day.is_none() && token.len() <= 2 && number.is_some() {
            day = number;
        } else if month.is_none() && month_of(token).is_some() {
            month = month_of(token);
        } else if year.is_none() && matches!(token.len(), 2 | 4) {
            year = token.parse::<i32>().ok().map(|year| match year {
                0..70 => year + 2_000,
                70..100 => year + 1_900,
                year => year,
            });
        }
    }
    let date = Date::from_calendar_date(year?, month?, day?).ok()?;
    let at = OffsetDateTime::new_utc(date, time?).unix_timestamp_nanos() / 1_000;
    Some(date_time(u64::try_from(at.max(0)).ok()?))
}

fn time_of_day(token: &str) -> Option<Time> {
    let mut parts = token.split(':').map(|part| part.parse::<u8>().ok());
    Time::from_hms(parts.next()??, parts.next()??, parts.next()??).ok()
}

fn month_of(token: &str) -> Option<Month> {
    const NAMES: [&str; 12] =
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let name = token.get(..3)?.to_ascii_lowercase();
    let at = NAMES.iter().position(|known| *known == name)?;
    Month::try_from(u8::try_from(at + 1).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, value: &str) -> Field {
        Field { name: name.into(), value: value.into() }
    }

    #[test]
    fn cookies_that_are_sent() {
        let found = sent(&[field("Cookie", "a=1; b=x=y ; ;c="), field("cookie", "bare")]);
        let pairs: Vec<_> = found.iter().map(|it| (it.name.as_str(), it.value.as_str())).collect();
        assert_eq!(pairs, [("a", "1"), ("b", "x=y"), ("c", ""), ("", "bare")]);
        assert!(sent(&[field("Set-Cookie", "a=1")]).is_empty());
    }

    #[test]
    fn cookies_that_are_set_have_their_attributes() {
        let value = "sid=abc; Path=/p; Domain=.h.example; HttpOnly; secure; SameSite=Lax; \
                     Expires=Wed, 21 Oct 2026 07:28:00 GMT; Priority=High";
        let expected = Cookie {
            name: "sid".into(),
            value: "abc".into(),
            path: Some("/p".into()),
            domain: Some(".h.example".into()),
            expires: Some("2026-10-21T07:28:00.000+00:00".into()),
            http_only: Some(true),
            secure: Some(true),
            same_site: Some("Lax".into()),
        };
        assert_eq!(received(&[field("set-cookie", value)], 0), [expected]);
    }

    #[test]
    fn max_age_counts_from_the_request_and_goes_first() {
        let at =
            |value: &str| received(&[field("Set-Cookie", value)], 5_000_000)[0].expires.clone();
        let expected = Some("1970-01-01T00:01:05.000+00:00".to_owned());
        assert_eq!(at("a=b; Max-Age=60; Expires=Wed, 21 Oct 2026 07:28:00 GMT"), expected);
        assert_eq!(at("a=b; Max-Age=-1"), Some("1970-01-01T00:00:05.000+00:00".to_owned()));
        assert!(at("a=b; Max-Age=99999999999999").unwrap().starts_with("9999-12-31"));
        assert_eq!(at("a=b; Max-Age=x"), None);
    }

    #[test]
    fn dates_in_all_their_forms() {
        let day = Some("2026-10-21T07:28:00.000+00:00".to_owned());
        assert_eq!(expires("Wed, 21-Oct-2026 07:28:00 GMT"), day);
        assert_eq!(expires("Wednesday, 21-Oct-26 07:28:00 GMT"), day);
        assert_eq!(expires("Wed Oct 21 07:28:00 2026"), day);
        let past = expires("Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(past, Some("1970-01-01T00:00:00.000+00:00".to_owned()));
        for odd in ["", "0", "never", "Wed, 31 Feb 2026 07:28:00 GMT", "21 Oct 2026 25:00:00"] {
            assert_eq!(expires(odd), None, "{odd}");
        }
    }
}
