//! A request as the emulator sees it, and its answer; free of the transport.

use serde_json::{Value, json};

use super::error::ApiError;

/// A request that has been read.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method in upper case.
    pub method: String,
    /// The path, decoded, with its casing as sent.
    pub path: String,
    /// The query as sent, without `?`.
    pub query: String,
    /// Header names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// The parts of the path.
    pub fn segments(&self) -> Vec<&str> {
        self.path.split('/').filter(|segment| !segment.is_empty()).collect()
    }

    /// A query parameter's value, decoded; names compare without case.
    pub fn parameter(&self, name: &str) -> Option<String> {
        pairs(&self.query).find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The fields of a form.
    pub fn form(&self) -> Vec<(String, String)> {
        pairs(&String::from_utf8_lossy(&self.body)).collect()
    }
}

/// Names and values of a query or form, decoded.
pub fn pairs(text: &str) -> impl Iterator<Item = (String, String)> {
    text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(&name.replace('+', " ")), decode(&value.replace('+', " ")))
    })
}

/// Decodes percent signs.
pub fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// The body; none when empty.
    pub body: Option<Vec<u8>>,
    /// The body's media type.
    pub content_type: &'static str,
}

impl Reply {
    /// An answer without a body.
    pub fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: None, content_type: "application/json; charset=utf-8" }
    }

    /// An answer with a JSON body.
    pub fn json(status: u16, body: &Value) -> Self {
        let mut reply = Self::empty(status);
        reply.body = Some(body.to_string().into_bytes());
        reply
    }

    /// 200 with a JSON body.
    pub fn ok(body: &Value) -> Self {
        Self::json(200, body)
    }

    /// Adds a header.
    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

impl From<ApiError> for Reply {
    fn from(error: ApiError) -> Self {
        let mut reply = Self::json(error.status, &error.envelope());
        reply.headers = error.headers;
        reply
    }
}

/// Parses a JSON body that must be an object; an empty one is an empty object. `az` sends templates with comments and unquoted keys, so
/// that what strict JSON refuses is read again as JSON5.
pub fn parse_object(body: &[u8]) -> Result<Value, ApiError> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(json!({}));
    }
    let value = serde_json::from_slice::<Value>(body).or_else(|strict| {
        let text = std::str::from_utf8(body).map_err(|_| ApiError::invalid_content("the body is not UTF-8"))?;
        if is_deep(text) {
            return Err(ApiError::invalid_content(&strict.to_string()));
        }
        json5::from_str::<Value>(text).map_err(|_| ApiError::invalid_content(&strict.to_string()))
    })?;
    if value.is_object() { Ok(value) } else { Err(ApiError::invalid_content("the body is not a JSON object")) }
}

/// Whether brackets outside of texts and comments nest deeper than serde's own limit: the tolerant parser has none, and would exhaust the
/// stack.
fn is_deep(text: &str) -> bool {
    let mut depth = 0_u32;
    let mut rest = text.bytes().peekable();
    while let Some(byte) = rest.next() {
        match byte {
            b'"' | b'\'' => {
                while let Some(inner) = rest.next() {
                    if inner == b'\\' {
                        rest.next();
                    } else if inner == byte {
                        break;
                    }
                }
            }
            b'/' if rest.peek() == Some(&b'/') => while rest.next().is_some_and(|inner| inner != b'\n' && inner != b'\r') {},
            b'/' if rest.peek() == Some(&b'*') => {
                rest.next();
                let mut before = 0;
                for inner in rest.by_ref() {
                    if before == b'*' && inner == b'/' {
                        break;
                    }
                    before = inner;
                }
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > 128 {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_that_az_sends_are_read() {
        let body = b"{\"properties\": {template: {\"a\": 1, // why\n}, \"mode\": \"Incremental\"}}";
        let value = parse_object(body).expect("tolerated");
        assert_eq!(value["properties"]["mode"], "Incremental");
        assert_eq!(parse_object(b" ").expect("empty"), json!({}));
    }

    #[test]
    fn broken_bodies_are_refused_in_azures_words() {
        let deep = [b"{a:".repeat(100_000), b"[".repeat(3_000_000), b"/*'*/{\"a\":".repeat(1_000)];
        for body in deep.iter().map(Vec::as_slice).chain([&b"{"[..], b"[1]", b"{\"a\":", b"\xff", b"7"]) {
            let error = parse_object(body).expect_err("refused");
            assert_eq!((error.status, error.code.as_str()), (400, "InvalidRequestContent"));
        }
    }

    #[test]
    fn queries_are_decoded() {
        let got: Vec<_> = pairs("$filter=name%20eq%20'a+b'&x&api-version=1").collect();
        assert_eq!(got[0], ("$filter".into(), "name eq 'a b'".into()));
        assert_eq!(got[1], ("x".into(), String::new()));
    }
}
