//! The events of event streams (WHATWG HTML, section 9.2).

/// One event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Event<'a> {
    /// Its name; empty where it has none.
    pub(crate) name: &'a str,
    /// Its id; empty where it has none.
    pub(crate) id: &'a str,
    /// Its data, lines joined.
    pub(crate) data: String,
}

/// The events of a stream; one that its end cuts off is the last.
pub(crate) fn events(text: &str) -> Vec<Event<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut events = Vec::new();
    let mut event = Event::default();
    let mut has_data = false;
    let lines =
        text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'));
    for line in lines.chain([""]) {
        if line.is_empty() {
            let ended = std::mem::take(&mut event);
            if std::mem::take(&mut has_data) {
                events.push(ended);
            }
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => event.name = value,
            "id" => event.id = value,
            "data" => {
                if std::mem::replace(&mut has_data, true) {
                    event.data.push('\n');
                }
                event.data.push_str(value);
            }
            _ => {}
        }
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_as_browsers_do() {
        let stream = "\u{feff}: comment\r\n\r\nevent: add\ndata: one\ndata:two\nid: 7\n\n\
                      retry: 10\n\ndata\n\ndata: cut";
        let read = events(stream);
        let all: Vec<_> = read.iter().map(|it| (it.name, it.id, it.data.as_str())).collect();
        assert_eq!(all, [("add", "7", "one\ntwo"), ("", "", ""), ("", "", "cut")]);
        assert_eq!(events("data: a\rdata: b\r\r")[0].data, "a\nb");
    }
}
