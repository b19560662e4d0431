//! `extra` of a `[[target]]`: whatever the lab's own templates need, as they
//! see it.

use serde_json::{Map, Number, Value};
use toml::Spanned;

use super::check::Checks;
use super::error::Problem;

/// The table that was typed, or an empty one. Dates and times become texts.
pub(super) fn check(
    checks: &mut Checks,
    typed: Option<&Spanned<toml::Table>>,
) -> Map<String, Value> {
    let Some(typed) = typed else {
        return Map::new();
    };
    table(typed.get_ref()).unwrap_or_else(|key| {
        let message =
            format!("extra: `{key}` is infinite or not a number, which templates can't see");
        let problem = Problem::new(typed.span(), message);
        checks.add(problem.hint("write it as a text, in quotes"));
        Map::new()
    })
}

/// The error is the key with a value that JSON has not.
fn table(table: &toml::Table) -> Result<Map<String, Value>, String> {
    table
        .iter()
        .map(|(key, typed)| {
            let value = value(typed).map_err(|below| format!("{key}{below}"))?;
            Ok((key.clone(), value))
        })
        .collect()
}

fn value(typed: &toml::Value) -> Result<Value, String> {
    Ok(match typed {
        toml::Value::String(text) => Value::String(text.clone()),
        toml::Value::Integer(number) => Value::from(*number),
        toml::Value::Float(number) => Number::from_f64(*number)
            .map(Value::Number)
            .ok_or_else(String::new)?,
        toml::Value::Boolean(truth) => Value::Bool(*truth),
        toml::Value::Datetime(time) => Value::String(time.to_string()),
        toml::Value::Array(items) => {
            let items = items
                .iter()
                .enumerate()
                .map(|(index, item)| value(item).map_err(|below| format!("[{index}]{below}")));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        toml::Value::Table(fields) => {
            Value::Object(table(fields).map_err(|below| format!(".{below}"))?)
        }
    })
}
