//! What comes of several addresses.

use super::*;

#[test]
fn of_the_errors_of_a_name_the_one_that_it_leads_here_is_told() {
    let reason = String::new();
    for (statuses, told) in [([502, 508, 504], 508), ([403, 502, 508], 403), ([502, 504, 502], 502)]
    {
        let mut connecting = Connecting {
            untried: VecDeque::new(),
            attempts: Vec::new(),
            next_attempt: None,
            last_error: None,
        };
        for status in statuses {
            connecting.failed(DialError { status, reason: reason.clone() });
        }
        assert_eq!(connecting.last_error.map(|error| error.status), Some(told));
    }
}
