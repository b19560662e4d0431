//! Filters that quote a value for the language it is put into.

use serde_json::Value;
use tera::{Kwargs, State, Tera};

/// Makes `yaml` and `sh` known to the templates.
pub(crate) fn register(tera: &mut Tera) {
    tera.register_filter("yaml", |value: tera::Value, _: Kwargs, _: &State| {
        serde_json::to_value(&value)
            .map(|value| yaml(&value))
            .map_err(tera::Error::message)
    });
    tera.register_filter("sh", |text: &str, _: Kwargs, _: &State| sh(text));
}

/// `value` as YAML in its flow form, in ASCII only: JSON, but for characters
/// that JSON and YAML escape differently or that YAML refuses unescaped.
pub(crate) fn yaml(value: &Value) -> String {
    match value {
        Value::String(text) => yaml_string(text),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(yaml).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(fields) => {
            let fields: Vec<_> = fields
                .iter()
                .map(|(key, value)| format!("{}: {}", yaml_string(key), yaml(value)))
                .collect();
            format!("{{{}}}", fields.join(", "))
        }
        other => other.to_string(),
    }
}

fn yaml_string(text: &str) -> String {
    let quoted: String = text.chars().map(yaml_char).collect();
    format!("\"{quoted}\"")
}

fn yaml_char(c: char) -> String {
    match (c, u32::from(c)) {
        ('"' | '\\', _) => format!("\\{c}"),
        ('\n', _) => "\\n".into(),
        (' '..='~', _) => c.into(),
        (_, code @ ..=0xff) => format!("\\x{code:02x}"),
        (_, code @ ..=0xffff) => format!("\\u{code:04x}"),
        (_, code) => format!("\\U{code:08x}"),
    }
}

/// `text` as one word of a shell.
pub(crate) fn sh(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn yaml_reads_back_what_was_quoted() {
        for value in [
            json!("plain"),
            json!("yes"),
            json!("012"),
            json!("a: b # c"),
            json!("tab\tnew\nline\r\u{7f}\u{85}\u{2028}\u{feff} \"quoted\" \\ {{ x }}"),
            json!("ä 漢 😀"),
            json!([1, true, null, {"a: b": ["x"], "": 1.5}]),
            json!({}),
        ] {
            let text = yaml(&value);
            assert!(text.is_ascii(), "{text}");
            assert_eq!(
                serde_yaml_ng::from_str::<Value>(&text).unwrap(),
                value,
                "{text}"
            );
        }
    }

    #[test]
    fn sh_makes_one_word() {
        for text in ["", "a b", "it's", "$(reboot) `x` \\ \" \n;"] {
            let out = std::process::Command::new("sh")
                .args(["-c", &format!("printf %s {}", sh(text))])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(out.stdout).unwrap(), text);
        }
    }
}
