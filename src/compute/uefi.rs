//! Keys that Secure Boot trusts in machines made from a version: templates of Microsoft's, and signatures of one's own.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{Invalid, choice, region::items};
use crate::order;

/// Templates of default keys. The first stands for none of them: all keys are one's own.
const TEMPLATES: [&str; 3] = [NO_TEMPLATE, "MicrosoftUefiCertificateAuthorityTemplate", "MicrosoftWindowsTemplate"];
const NO_TEMPLATE: &str = "NoSignatureTemplate";
/// The databases that keys are for: the platform key, key exchange keys, what may run, what may not.
const DATABASES: [&str; 4] = ["pk", "kek", "db", "dbx"];
/// The bytes of a SHA-256 hash.
const HASH: usize = 32;

/// What a version says of UEFI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UefiSettings {
    /// Templates by name, as Azure spells them.
    pub templates: Vec<&'static str>,
    /// Further keys.
    pub keys: Vec<Key>,
}

/// A key of one's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The database that it is for.
    database: &'static str,
    /// `x509` or `sha256`.
    kind: &'static str,
    /// The certificate's DER, or the hash, in base64.
    value: String,
}

/// Reads templates' names, separated by commas, blanks or lines.
pub fn parse_templates(text: &str) -> Result<Vec<&'static str>, Invalid> {
    let mut templates = Vec::new();
    for item in items(text) {
        let template = choice(item, &TEMPLATES)?;
        if templates.contains(&template) {
            return Err(Invalid::new(item, "this template is listed twice"));
        }
        templates.push(template);
    }
    if templates.len() > 1 && templates.contains(&NO_TEMPLATE) {
        return Err(Invalid::new(text.trim(), format!("{NO_TEMPLATE} stands for no template; give it alone, or the others")));
    }
    Ok(templates)
}

/// Reads keys: lines of `database=file` with a certificate in PEM or DER, or `database=sha256:hash`. `read` gives a file's contents or says
/// why there are none.
pub fn parse_keys(text: &str, read: impl Fn(&str) -> Result<Vec<u8>, String>) -> Result<Vec<Key>, Invalid> {
    let mut keys: Vec<Key> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let key = parse_key(line, &read).map_err(|problem| Invalid::new(line, problem))?;
        if keys.contains(&key) {
            return Err(Invalid::new(line, format!("the same key is given twice for {}", key.database)));
        }
        if key.database == "pk" && keys.iter().any(|known| known.database == "pk") {
            return Err(Invalid::new(line, "there is one platform key (pk)"));
        }
        keys.push(key);
    }
    Ok(keys)
}

fn parse_key(line: &str, read: &impl Fn(&str) -> Result<Vec<u8>, String>) -> Result<Key, String> {
    let wrong = "write database=file with a certificate, or database=sha256:hash; databases are pk, kek, db and dbx";
    let (database, content) = line.split_once('=').ok_or(wrong)?;
    let database = choice(database, &DATABASES).map_err(|_| wrong)?;
    let content = content.trim();
    if let Some(hash) = content.strip_prefix("sha256:") {
        if database != "db" && database != "dbx" {
            return Err(format!("{database} takes certificates only; hashes belong to db or dbx"));
        }
        return Ok(Key { database, kind: "sha256", value: parse_hash(hash.trim())? });
    }
    if content.is_empty() {
        return Err(wrong.to_owned());
    }
    let der = certificate(&read(content)?)?;
    Ok(Key { database, kind: "x509", value: BASE64_STANDARD.encode(der) })
}

/// A hash as 64 hexadecimal digits or in base64; gives it in base64.
fn parse_hash(text: &str) -> Result<String, String> {
    let digit = |index: usize| text.get(index..index + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
    let hex =
        || (text.len() == 2 * HASH && text.is_ascii()).then(|| (0..HASH).map(|index| digit(2 * index)).collect::<Option<Vec<u8>>>())?;
    let bytes = hex().or_else(|| BASE64_STANDARD.decode(text).ok()).filter(|bytes| bytes.len() == HASH);
    let bytes = bytes.ok_or("this is no SHA-256 hash: give its 64 hexadecimal digits, or its base64")?;
    Ok(BASE64_STANDARD.encode(bytes))
}

/// The DER of a certificate's file, which is DER itself or PEM.
fn certificate(contents: &[u8]) -> Result<Vec<u8>, String> {
    let text = std::str::from_utf8(contents).unwrap_or_default();
    if text.contains("PRIVATE KEY-----") {
        return Err("the file holds a private key, which is never published; give the certificate alone".to_owned());
    }
    let pem = text.split("-----BEGIN CERTIFICATE-----").nth(1).and_then(|rest| rest.split("-----END").next());
    let der = match pem {
        Some(body) => {
            let base64: String = body.split_whitespace().collect();
            BASE64_STANDARD.decode(base64).map_err(|_| "what stands in the file between the certificate's markers is not base64")?
        }
        None => contents.to_vec(),
    };
    // A certificate is one SEQUENCE of more than 255 bytes, and nothing follows it.
    let whole = match der.as_slice() {
        [0x30, 0x82, high, low, rest @ ..] => usize::from(*high) << 8 | usize::from(*low) == rest.len(),
        _ => false,
    };
    if whole { Ok(der) } else { Err("the file holds no certificate; give an X.509 certificate in PEM or DER".to_owned()) }
}

impl UefiSettings {
    /// The settings, where something is said of them. Keys need to be told what they are added to.
    pub fn from_parts(templates: Vec<&'static str>, keys: Vec<Key>) -> Result<Option<Self>, (&'static str, Invalid)> {
        if templates.is_empty() && keys.is_empty() {
            return Ok(None);
        }
        let missing = |database: &str| !keys.iter().any(|key| key.database == database);
        if templates.is_empty() {
            let problem = format!(
                "keys are added to those of templates: name them, such as {}, or {NO_TEMPLATE} where these keys are all there are",
                TEMPLATES[1]
            );
            return Err(("UefiSignatureTemplates", Invalid::new("", problem)));
        }
        if templates == [NO_TEMPLATE]
            && let Some(database) = DATABASES[..3].iter().find(|database| missing(database))
        {
            let problem = format!("without a template UefiKeys must hold keys for pk, kek and db, and there is none for {database}");
            return Err(("UefiSignatureTemplates", Invalid::new(NO_TEMPLATE, problem)));
        }
        Ok(Some(Self { templates, keys }))
    }

    /// `uefiSettings` of a request.
    pub fn body(&self) -> Value {
        let mut body = json!({"signatureTemplateNames": self.templates});
        for database in DATABASES {
            let mut made = Vec::new();
            for kind in ["x509", "sha256"] {
                let own = self.keys.iter().filter(|key| key.database == database && key.kind == kind);
                let values: Vec<&str> = own.map(|key| key.value.as_str()).collect();
                if !values.is_empty() {
                    made.push(json!({"type": kind, "value": values}));
                }
            }
            match (database, made.pop()) {
                (_, None) => {}
                ("pk", Some(key)) => body["additionalSignatures"]["pk"] = key,
                (_, Some(last)) => {
                    made.push(last);
                    body["additionalSignatures"][database] = json!(made);
                }
            }
        }
        body
    }

    /// The settings as text, short enough for a message: templates and the number of keys for each database.
    pub fn shown(settings: &Value) -> String {
        let texts = |value: &Value| value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>();
        let mut parts = texts(&settings["signatureTemplateNames"]);
        order::sort(&mut parts, &mut Ord::cmp);
        for database in DATABASES {
            let keys = &settings["additionalSignatures"][database];
            let all = if keys.is_array() { keys.as_array().into_iter().flatten().collect() } else { vec![keys] };
            let count: usize = all.into_iter().map(|key| texts(&key["value"]).len()).sum();
            if count > 0 {
                parts.push(format!("{count} of {database}"));
            }
        }
        if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A SEQUENCE of 256 bytes, which is all that is looked at.
    fn der(fill: u8) -> Vec<u8> {
        [[0x30, 0x82, 1, 0].as_slice(), &[fill; 256]].concat()
    }

    fn read(path: &str) -> Result<Vec<u8>, String> {
        match path {
            "a.der" => Ok(der(1)),
            "b.pem" => {
                Ok(format!("x\n-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", BASE64_STANDARD.encode(der(2))).into_bytes())
            }
            "key.pem" => Ok(b"-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----".to_vec()),
            "broken.pem" => Ok(b"-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----".to_vec()),
            "text" => Ok(b"hello".to_vec()),
            _ => Err("there is no such file".to_owned()),
        }
    }

    #[test]
    fn keys_are_certificates_and_hashes_for_their_databases() {
        let hash = "00".repeat(32);
        let text = format!("db=a.der\n DB = b.pem \ndbx=sha256:{hash}\nkek=a.der\npk=a.der");
        let settings = UefiSettings::from_parts(parse_templates("nosignaturetemplate").unwrap(), parse_keys(&text, read).unwrap());
        let body = settings.unwrap().unwrap().body();
        let (a, b) = (BASE64_STANDARD.encode(der(1)), BASE64_STANDARD.encode(der(2)));
        assert_eq!(
            body,
            json!({"signatureTemplateNames": ["NoSignatureTemplate"], "additionalSignatures": {
                "pk": {"type": "x509", "value": [a]},
                "kek": [{"type": "x509", "value": [a]}],
                "db": [{"type": "x509", "value": [a, b]}],
                "dbx": [{"type": "sha256", "value": [BASE64_STANDARD.encode([0; 32])]}],
            }})
        );
        assert_eq!(UefiSettings::shown(&body), "NoSignatureTemplate, 1 of pk, 1 of kek, 2 of db, 1 of dbx");
        assert_eq!(UefiSettings::shown(&Value::Null), "none");
    }

    #[test]
    fn wrong_keys_and_templates_are_told() {
        let hash = "00".repeat(32);
        let (again, two) = (format!("dbx=sha256:{hash}\ndbx=sha256:{hash}"), "pk=a.der\npk=b.pem");
        for (bad, problem) in [
            ("a.der", "write database=file with a certificate,"),
            ("root=a.der", "write database=file with a certificate,"),
            ("db=", "write database=file with a certificate,"),
            ("db=none.der", "there is no such file"),
            ("db=text", "the file holds no certificate;"),
            ("db=key.pem", "the file holds a private key,"),
            ("db=broken.pem", "what stands in the file between the certificate's markers is not base64"),
            ("dbx=sha256:12", "this is no SHA-256 hash:"),
            ("kek=sha256:12", "kek takes certificates only;"),
            (&again, "the same key is given twice for dbx"),
            (two, "there is one platform key (pk)"),
        ] {
            let wrong = parse_keys(bad, read).unwrap_err();
            assert!(wrong.problem.starts_with(problem), "{bad}: {wrong}");
        }
        for bad in ["Mine", "MicrosoftWindowsTemplate MicrosoftWindowsTemplate", "NoSignatureTemplate, MicrosoftWindowsTemplate"] {
            assert!(parse_templates(bad).is_err(), "{bad}");
        }
        let keys = || parse_keys("db=a.der", read).unwrap();
        let (input, wrong) = UefiSettings::from_parts(Vec::new(), keys()).unwrap_err();
        assert!(input == "UefiSignatureTemplates" && wrong.problem.starts_with("keys are added to those of templates"), "{wrong}");
        let (_, wrong) = UefiSettings::from_parts(vec![NO_TEMPLATE], keys()).unwrap_err();
        assert!(wrong.problem.ends_with("there is none for pk"), "{wrong}");
        assert_eq!(UefiSettings::from_parts(Vec::new(), Vec::new()), Ok(None));
    }
}
