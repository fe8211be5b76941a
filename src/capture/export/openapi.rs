//! OpenAPI 3.1: one document of the APIs that were seen.
//!
//! Of each exchange only what it adds to the document is kept, within the limits of
//! [`crate::limits`].

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::rc::Rc;

use serde::Serialize;
use serde_json::Value;

use super::line::value;
use super::{Format, Left, One};
use crate::capture::flow::Flow;
use crate::flow::redact::Redactor;
use crate::flow::url::Url;
use crate::limits::{
    OPENAPI_BODY_BYTES, OPENAPI_EXAMPLES_BYTES, OPENAPI_OPERATIONS, OPENAPI_PARAMETERS,
    OPENAPI_SCHEMAS, OPENAPI_SERVERS, OPENAPI_URL_BYTES,
};
use crate::notice::count;

use media::{Media, media};
use operation::{Operation, WrittenOperation};
use path::Path;
use security::Schemes;

mod media;
mod operation;
mod parameters;
mod path;
mod schema;
mod security;
mod text;

/// The methods of a path item.
const METHODS: [&str; 7] = ["get", "put", "post", "delete", "head", "patch", "trace"];

/// How much more may be kept: members, items, parameters, bodies and answers.
#[derive(Debug, PartialEq, Eq)]
struct Room {
    schemas: usize,
    /// Bytes of examples.
    examples: usize,
    /// What was left out.
    left_out: u64,
}

impl Default for Room {
    fn default() -> Self {
        Room { schemas: OPENAPI_SCHEMAS, examples: OPENAPI_EXAMPLES_BYTES, left_out: 0 }
    }
}

impl Room {
    /// Takes room for one more, if there is some.
    fn take(&mut self) -> bool {
        let fits = self.schemas > 0;
        self.schemas = self.schemas.saturating_sub(1);
        self.left_out += u64::from(!fits);
        fits
    }

    /// Takes room for an example, which nobody misses, of so many bytes.
    fn take_example(&mut self, bytes: usize) -> bool {
        let left = self.examples.checked_sub(bytes);
        self.examples = left.unwrap_or(self.examples);
        left.is_some()
    }
}

/// Whether a name is a secret by its looks: it is data then, and no name.
fn is_secret(name: &str) -> bool {
    Redactor::default().words(name) != name
}

/// A document that is being gathered.
pub(super) struct OpenApi<'r> {
    redactor: &'r Redactor,
    paths: BTreeMap<String, PathItem>,
    servers: BTreeSet<Rc<str>>,
    schemes: Schemes,
    room: Room,
    operations: usize,
    /// Exchanges that the document is made of.
    calls: u64,
    calls_left_out: u64,
}

#[derive(Debug)]
struct PathItem {
    path: Path,
    servers: BTreeSet<Rc<str>>,
    operations: BTreeMap<&'static str, Operation>,
}

impl<'r> OpenApi<'r> {
    pub(super) fn new(redactor: &'r Redactor) -> Self {
        OpenApi {
            redactor,
            paths: BTreeMap::new(),
            servers: BTreeSet::new(),
            schemes: Schemes::default(),
            room: Room::default(),
            operations: 0,
            calls: 0,
            calls_left_out: 0,
        }
    }

    fn add(&mut self, flow: &Flow) {
        let lower = flow.method.to_ascii_lowercase();
        let Some(method) = METHODS.into_iter().find(|method| *method == lower) else { return };
        if !is_api(flow, method) {
            return;
        }
        if flow.url.len() > OPENAPI_URL_BYTES {
            self.calls_left_out += 1;
            return;
        }
        let url = self.redactor.url(&flow.url);
        let url = Url::read(&url);
        if !matches!(url.scheme, "http" | "https") || url.authority.is_empty() {
            return;
        }
        let server = format!("{}://{}", url.scheme, url.authority.to_ascii_lowercase());
        let server: Rc<str> = server.into();
        let path = Path::read(url.path);
        let item = self.paths.get(&path.template);
        let is_new = item.is_none_or(|item| !item.operations.contains_key(method));
        if path.parameters.len() > OPENAPI_PARAMETERS
            || is_new && self.operations >= OPENAPI_OPERATIONS
            || !self.servers.contains(&server) && self.servers.len() >= OPENAPI_SERVERS
        {
            self.calls_left_out += 1;
            return;
        }
        self.calls += 1;
        self.operations += usize::from(is_new);
        self.servers.insert(server.clone());
        let schemes = self.schemes.of(flow, Url::read(&flow.url).query);
        let item = self.paths.entry(path.template.clone()).or_insert_with(|| PathItem {
            path: Path::read(url.path),
            servers: BTreeSet::new(),
            operations: BTreeMap::new(),
        });
        item.servers.insert(server);
        let operation = item.operations.entry(method).or_default();
        operation.add(flow, &path, schemes, self.redactor, &mut self.room);
    }
}

/// Whether an exchange looks like a call of an API.
fn is_api(flow: &Flow, method: &str) -> bool {
    let Some(response) = &flow.response else { return false };
    if !(100..600).contains(&response.status) || flow.messages.is_some() {
        return false;
    }
    let (_, asked) = media(&flow.request);
    let (_, answered) = media(&response.message);
    let accepts = value(&flow.request.fields, "accept");
    let changes = !matches!(method, "get" | "head" | "trace");
    asked.is_api()
        || answered.is_api()
        || answered == Media::Unknown && (changes || accepts.contains("json"))
}

#[derive(Serialize)]
struct Document<'d> {
    openapi: &'static str,
    info: Info,
    servers: Vec<Server<'d>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Tag>,
    paths: BTreeMap<&'d str, BTreeMap<&'static str, Written<'d>>>,
    components: Components<'d>,
}

#[derive(Serialize)]
struct Info {
    title: String,
    description: String,
    version: &'static str,
}

#[derive(Serialize)]
struct Server<'d> {
    url: &'d str,
}

#[derive(Serialize)]
struct Tag {
    name: String,
}

#[derive(Serialize)]
struct Components<'d> {
    #[serde(rename = "securitySchemes")]
    security_schemes: &'d BTreeMap<String, Value>,
}

/// What stands in a path item.
#[derive(Serialize)]
#[serde(untagged)]
enum Written<'d> {
    Servers(Vec<Server<'d>>),
    Operation(Box<WrittenOperation>),
}

impl OpenApi<'_> {
    fn document(&self) -> Document<'_> {
        let (mut ids, mut tags) = (BTreeSet::new(), BTreeSet::new());
        let mut paths = BTreeMap::new();
        for (template, item) in &self.paths {
            let mut written = BTreeMap::new();
            if item.servers.len() < self.servers.len() {
                written.insert("servers", Written::Servers(servers(&item.servers)));
            }
            let tag = item.path.tag();
            tags.extend(tag.map(str::to_owned));
            for (method, operation) in &item.operations {
                let id = free(item.path.operation(method), &mut ids);
                let operation = operation.written(id, tag);
                written.insert(*method, Written::Operation(Box::new(operation)));
            }
            paths.insert(template.as_str(), written);
        }
        Document {
            openapi: "3.1.0",
            info: self.info(),
            servers: servers(&self.servers),
            tags: tags.into_iter().map(|name| Tag { name }).collect(),
            paths,
            components: Components { security_schemes: self.schemes.written() },
        }
    }

    fn info(&self) -> Info {
        let hosts: Vec<_> = self.servers.iter().map(|server| Url::read(server).authority).collect();
        let title = match hosts.as_slice() {
            [host] => format!("API of {host}"),
            hosts => format!("APIs of {} hosts", hosts.len()),
        };
        let flowtap = env!("CARGO_PKG_VERSION");
        let description = format!(
            "Inferred by flowtap {flowtap} from {} captured calls. What was not seen is not here, \
             and what was always seen is said to be required.",
            self.calls
        );
        Info { title, description, version: "0.0.0" }
    }
}

fn servers(urls: &BTreeSet<Rc<str>>) -> Vec<Server<'_>> {
    urls.iter().map(|url| Server { url }).collect()
}

/// The name, or the first one with a number behind it that nothing else has.
fn free(name: String, taken: &mut BTreeSet<String>) -> String {
    let numbered = (2..).map(|number| format!("{name}{number}"));
    let is_free = |name: &String| !taken.contains(name);
    let free = [name.clone()].into_iter().chain(numbered).find(is_free).unwrap_or(name);
    taken.insert(free.clone());
    free
}

impl Format for OpenApi<'_> {
    fn begin(&mut self, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }

    fn flow(&mut self, _out: &mut dyn Write, one: &One<'_>) -> io::Result<()> {
        self.add(one.flow);
        Ok(())
    }

    fn end(&mut self, out: &mut dyn Write, left: &mut Left) -> io::Result<u64> {
        serde_json::to_writer_pretty(&mut *out, &self.document())?;
        out.write_all(b"\n")?;
        out.flush()?;
        if self.calls_left_out > 0 {
            left.push(format!(
                "{}: a document has at most {OPENAPI_OPERATIONS} operations of {OPENAPI_SERVERS} \
                 servers, and no URLs above {} KiB or with more than {OPENAPI_PARAMETERS} ids; \
                 --filter takes some",
                count(self.calls_left_out, "call"),
                OPENAPI_URL_BYTES >> 10
            ));
        }
        if self.room.left_out > 0 {
            left.push(format!(
                "{} of schemas: bodies above {} MiB, more than {OPENAPI_PARAMETERS} \
                 parameters of an operation, or more than {OPENAPI_SCHEMAS} members in all",
                count(self.room.left_out, "part"),
                OPENAPI_BODY_BYTES >> 20
            ));
        }
        Ok(self.operations as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::flow::{Message, Response};
    use crate::flow::head::Field;
    use crate::limits::{OPENAPI_EXAMPLE_BYTES, OPENAPI_NAME_BYTES, OPENAPI_SCHEMES};

    /// A call that changes something, which is one of an API.
    fn call(url: String) -> Flow {
        let response = Response { status: 204, reason: String::new(), message: Message::default() };
        Flow { method: "DELETE".into(), url, response: Some(response), ..Flow::default() }
    }

    /// What the calls come to, and what was left out of it.
    fn document(calls: impl Iterator<Item = Flow>) -> (Value, u64, Left) {
        let redactor = Redactor::off();
        let mut format = OpenApi::new(&redactor);
        let (mut out, mut left) = (Vec::new(), Left::new());
        for flow in calls {
            format.flow(&mut out, &One { id: "", part: 1, flow: &flow }).unwrap();
        }
        let operations = format.end(&mut out, &mut left).unwrap();
        (serde_json::from_slice(&out).unwrap(), operations, left)
    }

    /// A word for a number, without digits.
    fn word(number: usize) -> String {
        let letter = |place: u32| char::from(b'g' + (number / 10_usize.pow(place) % 10) as u8);
        (0..5).map(letter).collect()
    }

    #[test]
    fn what_is_beyond_the_limits_is_left_out_and_told() {
        let more = 5;
        let paths = (0..OPENAPI_OPERATIONS + more).map(word);
        let (made, operations, left) = document(paths.map(|path| call(format!("http://h/{path}"))));
        assert_eq!(operations, OPENAPI_OPERATIONS as u64);
        assert_eq!(made["paths"].as_object().unwrap().len(), OPENAPI_OPERATIONS);
        assert!(left.len() == 1 && left[0].starts_with("5 calls"), "{left:?}");

        let hosts = (0..OPENAPI_SERVERS + more).map(word);
        let (made, _, left) = document(hosts.map(|host| call(format!("http://{host}/"))));
        assert_eq!(made["servers"].as_array().unwrap().len(), OPENAPI_SERVERS);
        assert!(left.len() == 1 && left[0].starts_with("5 calls"), "{left:?}");

        let query: Vec<_> = (0..OPENAPI_PARAMETERS + more).map(|n| word(n) + "=1").collect();
        let (made, _, left) =
            document([call(format!("http://h/?{}", query.join("&")))].into_iter());
        let parameters = &made["paths"]["/"]["delete"]["parameters"];
        assert_eq!(parameters.as_array().unwrap().len(), OPENAPI_PARAMETERS);
        assert!(left.len() == 1 && left[0].starts_with("5 parts"), "{left:?}");

        let with_header = |number: usize| {
            let mut flow = call("http://h/".into());
            let name = format!("x-auth-{}", word(number));
            flow.request.fields.push(Field { name, value: "x".into() });
            flow
        };
        let (made, _, _) = document((0..OPENAPI_SCHEMES + more).map(with_header));
        let schemes = made["components"]["securitySchemes"].as_object().unwrap();
        assert_eq!(schemes.len(), OPENAPI_SCHEMES);

        let mut flow = call("http://h/".into());
        flow.request.body.bytes = vec![b' '; OPENAPI_BODY_BYTES + 1].into();
        let (_, _, left) = document([flow].into_iter());
        assert!(left.len() == 1 && left[0].starts_with("1 part "), "{left:?}");
    }

    #[test]
    fn long_urls_and_paths_of_many_ids_are_left_out() {
        let long = call(format!("http://h/{}", "a".repeat(OPENAPI_URL_BYTES)));
        let ids = call(format!("http://h{}", "/7".repeat(OPENAPI_PARAMETERS + 1)));
        let fits = call(format!("http://h{}", "/7".repeat(OPENAPI_PARAMETERS)));
        let (_, operations, left) = document([long, ids, fits].into_iter());
        assert_eq!(operations, 1);
        assert!(left.len() == 1 && left[0].starts_with("2 calls: "), "{left:?}");
    }

    #[test]
    fn what_a_response_says_of_itself_is_bounded() {
        let mut flow = call("http://h/".into());
        flow.response.as_mut().unwrap().reason = "x".repeat(100_000);
        let (made, _, _) = document([flow].into_iter());
        let description = &made["paths"]["/"]["delete"]["responses"]["204"]["description"];
        assert_eq!(description.as_str().unwrap().len(), 100);
    }

    #[test]
    fn examples_have_a_bound_of_their_own() {
        let mut room = Room { examples: 10, ..Room::default() };
        assert!(room.take_example(6) && !room.take_example(5) && room.take_example(4));
        let body = format!("[{}0]", "0,".repeat(500));
        let calls = (0..OPENAPI_EXAMPLES_BYTES / body.len() + 2).map(|number| {
            let mut flow = call(format!("http://h/{}", word(number % 900)));
            flow.response.as_mut().unwrap().status = 200 + (number / 900) as u16;
            flow.response.as_mut().unwrap().message.body.bytes = body.clone().into();
            flow
        });
        let text = document(calls).0.to_string();
        assert_eq!(text.matches("\"example\"").count(), OPENAPI_EXAMPLES_BYTES / body.len());
    }

    #[test]
    fn names_that_are_secrets_are_data() {
        let secret = "sk_live_abcdefghijklmnop";
        let mut flow = call(format!("http://h/?{secret}&n=1"));
        let field = |name: &str, value: &str| Field { name: name.into(), value: value.into() };
        flow.request.fields.push(field("Content-Type", "application/json"));
        flow.request.fields.push(field("Cookie", &format!("{secret}token=1; token=2")));
        flow.request.body.bytes = format!("{{\"{secret}\":1,\"n\":\"\"}}").into();
        let mut form = call("http://h/form".into());
        form.request.fields.push(field("Content-Type", "application/x-www-form-urlencoded"));
        form.request.body.bytes = format!("{secret}=1&n=1").into();
        let redactor = Redactor::default();
        let mut format = OpenApi::new(&redactor);
        format.add(&flow);
        format.add(&form);
        let text = serde_json::to_string(&format.document()).unwrap();
        assert!(text.contains("cookie.token"), "{text}");
        assert!(!text.contains("sk_live"), "{text}");
    }

    #[test]
    fn long_names_are_data_and_long_bodies_no_examples() {
        let long = "n".repeat(OPENAPI_NAME_BYTES + 1);
        let mut flow = call(format!("http://h/?{long}=1&n=1"));
        let field = ("Content-Type".into(), "application/json".into());
        flow.request.fields.push(Field { name: field.0, value: field.1 });
        flow.request.body.bytes = format!("{{\"{long}\":1,\"n\":\"\"}}").into();
        let (made, _, left) = document([flow].into_iter());
        let operation = &made["paths"]["/"]["delete"];
        assert_eq!(operation["parameters"].as_array().unwrap().len(), 1);
        assert!(left.len() == 1 && left[0].starts_with("1 part "), "{left:?}");
        let content = &operation["requestBody"]["content"]["application/json"];
        assert_eq!(content["schema"]["additionalProperties"]["type"], "integer");
        assert!(content["example"].is_object());

        let mut flow = call("http://h/".into());
        let text = "x".repeat(OPENAPI_EXAMPLE_BYTES);
        flow.request.body.bytes = format!("{{\"n\":\"{text}\"}}").into();
        let (made, _, _) = document([flow].into_iter());
        let content = &made["paths"]["/"]["delete"]["requestBody"]["content"]["application/json"];
        assert_eq!(content["schema"]["required"][0], "n");
        assert!(content["example"].is_null());
    }

    #[test]
    fn odd_flows_do_no_harm() {
        for url in ["", "/", "http://", "*", "http://h", "http:///x", "http://h/{}?{}=%", "ws://h/"]
        {
            let (made, _, _) = document([call(url.into())].into_iter());
            assert_eq!(made["openapi"], "3.1.0", "{url}");
        }
    }
}
