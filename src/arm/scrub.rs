//! Takes secrets out of text that will be shown: bearer tokens, signatures in addresses, secrets in forms and JSON.

/// Query parameters whose values may be shown. Everything else in an address's query may sign or carry something.
const OPEN_PARAMETERS: [&str; 9] =
    ["api-version", "monitor", "$filter", "$expand", "$top", "$orderby", "serviceconnectionid", "tenantid", "recursive"];

/// Names whose values are secret wherever they stand, as `name=value`, `name: value` or `"name":"value"`.
const SECRET_NAMES: [&str; 15] = [
    "client_secret",
    "client_assertion",
    "access_token",
    "refresh_token",
    "id_token",
    "oidctoken",
    "authorization",
    "password",
    "adminpassword",
    "accountkey",
    "sharedaccesskey",
    "sharedaccesssignature",
    "accesssas",
    "sig",
    "sastoken",
];

const HIDDEN: &str = "***";

/// Text without secrets.
pub fn text(text: &str) -> String {
    hide_tokens(&hide_named(&hide_addresses(text)))
}

/// One address without secrets.
pub fn url(url: &str) -> String {
    let Some((address, query)) = url.split_once('?') else { return url.to_owned() };
    let parameters: Vec<String> = query.split('&').map(open_parameter).collect();
    format!("{address}?{}", parameters.join("&"))
}

fn open_parameter(parameter: &str) -> String {
    match parameter.split_once('=') {
        Some((name, _)) if !OPEN_PARAMETERS.iter().any(|open| open.eq_ignore_ascii_case(name)) => format!("{name}={HIDDEN}"),
        _ => parameter.to_owned(),
    }
}

fn hide_addresses(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let end = rest[at..]
            .find(|character: char| character.is_whitespace() || "\"'<>\\`".contains(character))
            .map_or(rest.len(), |end| at + end);
        // The query begins at the first question mark; what stands before is open.
        match rest[at..end].find('?') {
            Some(question) => {
                safe.push_str(&rest[..at + question]);
                safe.push_str(&url(&rest[at + question..end]));
            }
            None => safe.push_str(&rest[..end]),
        }
        rest = &rest[end..];
    }
    safe.push_str(rest);
    safe
}

/// Hides the values of secret names. Quotes around names and values, escaped ones too, stay.
fn hide_named(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut safe = String::with_capacity(text.len());
    let mut done = 0;
    for (at, _) in lower.char_indices() {
        if at < done || !starts_word(&lower, at) {
            continue;
        }
        let Some(name) = SECRET_NAMES.iter().find(|name| lower[at..].starts_with(**name)) else { continue };
        let Some(value) = value_after(&text[at + name.len()..]) else { continue };
        let start = at + name.len() + value.0;
        safe.push_str(&text[done..start]);
        safe.push_str(HIDDEN);
        done = start + value.1;
    }
    safe.push_str(&text[done..]);
    safe
}

fn starts_word(text: &str, at: usize) -> bool {
    !text[..at].chars().next_back().is_some_and(|before| before.is_ascii_alphanumeric() || before == '_')
}

/// Where a value starts behind its name, and how long it is: behind quotes, `=` or `:`, white space and quotes again.
fn value_after(text: &str) -> Option<(usize, usize)> {
    let quotes = |character: char| "\"'\\".contains(character);
    let rest = text.trim_start_matches(quotes);
    let rest = rest.trim_start().strip_prefix(['=', ':'])?.trim_start();
    let value = rest.trim_start_matches(quotes);
    let in_quotes = value.len() < rest.len();
    let end = value.find(|character: char| quotes(character) || (!in_quotes && (character.is_whitespace() || "&;,}".contains(character))));
    let length = end.unwrap_or(value.len());
    (length > 0).then_some((text.len() - value.len(), length))
}

/// Hides what follows `Bearer`, and everything that looks like a JSON Web Token.
fn hide_tokens(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut after_bearer = false;
    for word in text.split_inclusive(|character: char| character.is_whitespace() || "\"'<>,;()=\\".contains(character)) {
        let token = word.trim_end_matches(|character: char| character.is_whitespace() || "\"'<>,;()=\\".contains(character));
        let looks_like_jwt = token.starts_with("eyJ") && token.len() > 20;
        if looks_like_jwt || (after_bearer && token.len() > 8) {
            safe.push_str(HIDDEN);
            safe.push_str(&word[token.len()..]);
        } else {
            safe.push_str(word);
        }
        if !token.is_empty() {
            after_bearer = token.eq_ignore_ascii_case("bearer");
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_and_the_rest_stays() {
        let cases = [
            (
                "GET https://a.example/x?api-version=1&t=63&c=MII&sig=ab%2Bc failed",
                "GET https://a.example/x?api-version=1&t=***&c=***&sig=*** failed",
            ),
            ("see https://aka.ms/x#frag, then", "see https://aka.ms/x#frag, then"),
            ("Authorization: Bearer eyJ0eXAiOiJKV1Qi.eyJhdWQi.c2ln", "Authorization: *** ***"),
            ("header 'bearer abcdefghijk' sent", "header 'bearer ***' sent"),
            ("the bearer of this", "the bearer of this"),
            (r#"{"client_secret":"a b;c","x":1}"#, r#"{"client_secret":"***","x":1}"#),
            (r#"{\"adminPassword\": \"P@ss w0rd\"}"#, r#"{\"adminPassword\": \"***\"}"#),
            ("grant_type=x&client_secret=abc&scope=y", "grant_type=x&client_secret=***&scope=y"),
            ("SharedAccessSignature=sv=2020&x", "SharedAccessSignature=***&x"),
            ("the password must be longer", "the password must be longer"),
            ("design: a sign of eyJ", "design: a sign of eyJ"),
            (
                "blob https://s.blob.core.windows.net/vhds/a.vhd?sv=2020&sp=r&sig=x%3D",
                "blob https://s.blob.core.windows.net/vhds/a.vhd?sv=***&sp=***&sig=***",
            ),
        ];
        for (given, expected) in cases {
            assert_eq!(text(given), expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn scrubbing_never_panics(given in "[a-zA-Z:/?=&\"'\\\\ üé\u{130}]{0,60}(sig|password|Bearer )[=: \"]{0,3}.{0,20}") {
            let _ = text(&given);
        }
    }
}
