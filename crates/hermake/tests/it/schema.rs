//! As much of JSON Schema as our schemas use.

use serde_json::Value;

/// What of `value` is not as `schema` says; nothing if all is.
pub(crate) fn wrong(root: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let inner = root
            .pointer(name.trim_start_matches('#'))
            .unwrap_or(&Value::Null);
        assert!(!inner.is_null(), "{name} is not there");
        return wrong(root, inner, value, at);
    }
    let mut out = Vec::new();
    for word in ["anyOf", "oneOf"] {
        if let Some(list) = schema[word].as_array() {
            let good = list
                .iter()
                .filter(|s| wrong(root, s, value, at).is_empty())
                .count();
            if good == 0 || word == "oneOf" && good > 1 {
                out.push(format!("{at}: {good} of {word} fit {value}"));
            }
        }
    }
    for inner in schema["allOf"].as_array().into_iter().flatten() {
        out.extend(wrong(root, inner, value, at));
    }
    if let Some(wanted) = schema.get("const")
        && wanted != value
    {
        out.push(format!("{at}: {value} is not {wanted}"));
    }
    if let Some(list) = schema["enum"].as_array()
        && !list.contains(value)
    {
        out.push(format!("{at}: {value} is not one of {list:?}"));
    }
    if let Some(kind) = schema.get("type") {
        let is = |name: &Value| match name.as_str().unwrap() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "integer" => value.is_u64() || value.is_i64(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            "null" => value.is_null(),
            other => panic!("unknown type {other}"),
        };
        let good = kind
            .as_array()
            .map_or_else(|| is(kind), |list| list.iter().any(is));
        if !good {
            out.push(format!("{at}: {value} is no {kind}"));
        }
    }
    for (i, item) in value.as_array().into_iter().flatten().enumerate() {
        if let Some(items) = schema.get("items") {
            out.extend(wrong(root, items, item, &format!("{at}/{i}")));
        }
    }
    if let Some(object) = value.as_object() {
        for name in schema["required"].as_array().into_iter().flatten() {
            if !object.contains_key(name.as_str().unwrap()) {
                out.push(format!("{at}: no {name}"));
            }
        }
        for (name, inner) in object {
            let at = format!("{at}/{name}");
            match (
                &schema["properties"][name],
                schema.get("additionalProperties"),
            ) {
                (Value::Null, Some(Value::Bool(false))) => out.push(format!("{at}: not known")),
                (Value::Null, Some(other)) if other.is_object() => {
                    out.extend(wrong(root, other, inner, &at));
                }
                (Value::Null, _) => {}
                (known, _) => out.extend(wrong(root, known, inner, &at)),
            }
        }
    }
    out
}
