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

/// The events of a stream; one that its end cuts off is the last. Each is made when it is asked
/// for: a stream may have millions.
pub(crate) fn events(text: &str) -> impl Iterator<Item = Event<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines =
        text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'));
    let mut lines = lines.chain([""]);
    std::iter::from_fn(move || next_event(&mut lines))
}

fn next_event<'a>(lines: &mut dyn Iterator<Item = &'a str>) -> Option<Event<'a>> {
    let mut event = Event::default();
    let mut has_data = false;
    for line in lines {
        if line.is_empty() {
            if has_data {
                return Some(event);
            }
            event = Event::default();
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
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_as_browsers_do() {
        let stream = "\u{feff}: comment\r\n\r\nevent: add\ndata: one\ndata:two\nid: 7\n\n\
                      retry: 10\n\ndata\n\ndata: cut";
        let read: Vec<_> = events(stream).collect();
        let all: Vec<_> = read.iter().map(|it| (it.name, it.id, it.data.as_str())).collect();
        assert_eq!(all, [("add", "7", "one\ntwo"), ("", "", ""), ("", "", "cut")]);
        assert_eq!(events("data: a\rdata: b\r\r").next().unwrap().data, "a\nb");
    }
}
