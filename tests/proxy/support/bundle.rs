//! Reads a bundle back, once the independent reader is content with it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The entries of a bundle by name.
#[derive(Debug)]
pub(crate) struct Bundle(BTreeMap<String, Vec<u8>>);

impl Bundle {
    /// Reads the bundle at `path`, which must keep to the letter of its format.
    pub(crate) fn read(path: &Path) -> Self {
        let checker = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/check_bundle.py");
        let output = Command::new("python3").arg(checker).arg(path).output().unwrap();
        let complaints = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the bundle is against its format: {complaints}");
        Self::open(path)
    }

    /// Reads the bundle at `path` without judging it.
    pub(crate) fn open(path: &Path) -> Self {
        let mut archive = zip::ZipArchive::new(File::open(path).unwrap()).unwrap();
        let mut entries = BTreeMap::new();
        for index in 0..archive.len() {
            let mut entry = archive.by_index(index).unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            entries.insert(entry.name().unwrap().into_owned(), bytes);
        }
        Self(entries)
    }

    /// The JSON of one entry.
    pub(crate) fn json(&self, name: &str) -> Value {
        let entry = self.0.get(name);
        let entry = entry.unwrap_or_else(|| panic!("{name} is not in {:?}", self.0.keys()));
        serde_json::from_slice(entry).unwrap()
    }

    /// All traces in the order of their numbers.
    pub(crate) fn traces(&self) -> Vec<Value> {
        let names = self.0.keys().filter(|n| n.starts_with("traces/") && n.ends_with(".json"));
        names.map(|name| self.json(name)).collect()
    }

    /// The one trace that there must be.
    pub(crate) fn only_trace(&self) -> Value {
        let mut traces = self.traces();
        assert_eq!(traces.len(), 1, "{traces:#?}");
        traces.remove(0)
    }

    /// The trace whose URL ends so.
    pub(crate) fn trace_of(&self, path: &str) -> Value {
        let traces = self.traces();
        let ends = |trace: &&Value| trace["request"]["url"].as_str().unwrap().ends_with(path);
        let found: Vec<_> = traces.iter().filter(ends).collect();
        assert_eq!(found.len(), 1, "{path}: {traces:#?}");
        found[0].clone()
    }

    /// The stored body of a trace's `side` (`request` or `response`); empty when left out.
    pub(crate) fn body(&self, trace: &Value, side: &str) -> Vec<u8> {
        self.stored("traces", &trace[side]["body_file"])
    }

    /// The messages of the WebSocket connection `id`: direction, opcode, payload.
    pub(crate) fn messages(&self, id: &str) -> Vec<(String, String, Vec<u8>)> {
        let count = self.json(&format!("ws/{id}.json"))["message_count"].as_u64().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (1..=count)
            .map(|number| {
                let message = self.json(&format!("ws/{id}_m{number:03}.json"));
                let payload = self.stored("ws", &message["payload_file"]);
                (text(&message["direction"]), text(&message["opcode"]), payload)
            })
            .collect()
    }

    fn stored(&self, folder: &str, file: &Value) -> Vec<u8> {
        match file.as_str() {
            Some(file) => self.0.get(&format!("{folder}/{file}")).unwrap().clone(),
            None => Vec::new(),
        }
    }
}

/// The fields of a message in a trace, as `name: value` lines in their order.
pub(crate) fn fields(message: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let fields = message["headers"].as_array().unwrap();
    fields.iter().map(|f| format!("{}: {}", text(&f["name"]), text(&f["value"]))).collect()
}
