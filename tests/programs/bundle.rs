//! The bundle as its readers see it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::Value;
use zip::ZipArchive;

/// All entries of a bundle.
pub(crate) struct Bundle {
    entries: BTreeMap<String, Vec<u8>>,
}

/// One HTTP exchange.
pub(crate) struct Trace {
    /// The metadata.
    pub(crate) json: Value,
    /// The body of the request.
    pub(crate) request: Vec<u8>,
    /// The body of the response.
    pub(crate) response: Vec<u8>,
}

/// One WebSocket message: direction, opcode, payload.
pub(crate) type Message = (String, String, Vec<u8>);

impl Bundle {
    /// Reads a bundle, and checks what holds for every bundle.
    pub(crate) fn read(path: &Path) -> Bundle {
        let mut archive = ZipArchive::new(File::open(path).unwrap()).unwrap();
        let mut entries = BTreeMap::new();
        for index in 0..archive.len() {
            let mut entry = archive.by_index(index).unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let name = entry.name().unwrap().into_owned();
            let twice = entries.insert(name.clone(), content);
            assert!(twice.is_none(), "{name} is there twice");
        }
        let bundle = Bundle { entries };
        let manifest = bundle.json("manifest.json");
        assert_eq!(manifest["format_version"], "1.0.0");
        assert_eq!(manifest["capture_method"], "proxy");
        assert_eq!(manifest["app"]["name"], "programs");
        assert_eq!(manifest["stats"]["trace_count"], bundle.names("traces/t_").count());
        bundle
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.entries[name]).unwrap_or_else(|error| {
            panic!("{name}: {error}: {}", String::from_utf8_lossy(&self.entries[name]))
        })
    }

    fn names(&self, prefix: &str) -> impl Iterator<Item = &String> {
        self.entries.keys().filter(move |name| name.starts_with(prefix) && name.ends_with(".json"))
    }

    fn body(&self, folder: &str, file: &Value, size: &Value) -> Vec<u8> {
        let body = match file.as_str() {
            Some(file) => self.entries[&format!("{folder}/{file}")].clone(),
            None => Vec::new(),
        };
        assert_eq!(*size, body.len(), "{file}");
        body
    }

    /// Every exchange with this method and URL, in order of completion.
    pub(crate) fn traces(&self, method: &str, url: &str) -> Vec<Trace> {
        let all = self.names("traces/").map(|name| self.json(name));
        all.filter(|json| json["request"]["method"] == method && json["request"]["url"] == url)
            .map(|json| {
                let (request, response) = (&json["request"], &json["response"]);
                let request = self.body("traces", &request["body_file"], &request["body_size"]);
                let response = self.body("traces", &response["body_file"], &response["body_size"]);
                Trace { json, request, response }
            })
            .collect()
    }

    /// The only exchange with this method and URL, which must not have failed.
    pub(crate) fn trace(&self, method: &str, url: &str) -> Trace {
        let mut traces = self.traces(method, url);
        assert_eq!(traces.len(), 1, "{method} {url} of {:#?}", self.urls());
        let trace = traces.remove(0);
        assert!(trace.json["error"].is_null(), "{}", trace.json);
        assert!(trace.json["timing"]["total_ms"].is_number(), "{}", trace.json);
        trace
    }

    /// Method and URL of every exchange.
    pub(crate) fn urls(&self) -> Vec<(String, String)> {
        self.names("traces/")
            .map(|name| self.json(name)["request"].clone())
            .map(|it| (text(&it["method"]), text(&it["url"])))
            .collect()
    }

    /// The messages of every WebSocket connection to this URL.
    pub(crate) fn websockets(&self, url: &str) -> Vec<Vec<Message>> {
        let heads = self.names("ws/").filter(|name| !name.contains("_m"));
        heads
            .map(|name| self.json(name))
            .filter(|head| head["url"] == url)
            .map(|head| {
                let messages = self.messages(&text(&head["id"]));
                assert_eq!(head["message_count"], messages.len(), "{head}");
                messages
            })
            .collect()
    }

    fn messages(&self, connection: &str) -> Vec<Message> {
        let mut messages: Vec<_> = self
            .names(&format!("ws/{connection}_m"))
            .map(|name| self.json(name))
            .map(|json| (number_at_end(&text(&json["id"])), json))
            .collect();
        messages.sort_by_key(|(number, _)| *number);
        let message = |json: Value| {
            let payload = self.body("ws", &json["payload_file"], &json["payload_size"]);
            (text(&json["direction"]), text(&json["opcode"]), payload)
        };
        messages.into_iter().map(|(_, json)| message(json)).collect()
    }
}

impl Trace {
    /// The status of the response.
    pub(crate) fn status(&self) -> &Value {
        &self.json["response"]["status"]
    }

    /// All values of a response field, whose name is matched as it was spelt on the wire.
    pub(crate) fn response_fields(&self, name: &str) -> Vec<String> {
        fields(&self.json["response"], name)
    }

    /// All values of a request field, whose name is matched as it was spelt on the wire.
    pub(crate) fn request_fields(&self, name: &str) -> Vec<String> {
        fields(&self.json["request"], name)
    }
}

fn fields(message: &Value, name: &str) -> Vec<String> {
    let all = message["headers"].as_array().unwrap();
    all.iter().filter(|it| it["name"] == name).map(|it| text(&it["value"])).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

fn number_at_end(id: &str) -> u64 {
    let at = id.rfind(|character: char| !character.is_ascii_digit()).unwrap();
    id[at + 1..].parse().unwrap()
}
