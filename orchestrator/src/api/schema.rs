//! What a payload lacks and what it has too much, by its JSON schema. serde leaves unknown fields out without a word, and a field
//! that is misspelt would be missed much later, elsewhere.

use super::problem::Problem;
use crate::nearest::hint;
use serde_json::{Map, Value};

/// Where in the payload the walk is, and the schema's definitions.
struct Walk<'a> {
    definitions: Option<&'a Value>,
}

/// Refuses a payload with an object that lacks a required field or has one that its schema does not know.
///
/// A part that its schema describes by alternatives is left to its type.
///
/// # Errors
/// The field, by its path under `name`.
pub(super) fn check(schema: &Value, payload: &Value, name: &str) -> Result<(), Problem> {
    let definitions = schema.get("$defs").or_else(|| schema.get("definitions"));
    Walk { definitions }.value(schema, payload, name)
}

impl Walk<'_> {
    fn value(&self, schema: &Value, value: &Value, path: &str) -> Result<(), Problem> {
        let schema = self.followed(schema);
        match value {
            Value::Object(fields) => self.object(schema, fields, path),
            Value::Array(items) => {
                let Some(of_item) = schema.get("items") else { return Ok(()) };
                let item = |(index, item)| self.value(of_item, item, &format!("{path}[{index}]"));
                items.iter().enumerate().try_for_each(item)
            }
            _ => Ok(()),
        }
    }

    fn followed<'s>(&'s self, schema: &'s Value) -> &'s Value {
        let name = schema.get("$ref").and_then(|target| target.as_str()?.rsplit('/').next());
        let schema = name.and_then(|name| self.definitions?.get(name)).unwrap_or(schema);
        // One alternative beside `null` is none.
        let null = |of: &&Value| of.get("type").is_none_or(|kind| kind != "null");
        let alternatives = schema.get("anyOf").and_then(Value::as_array);
        let mut others = alternatives.into_iter().flatten().filter(null);
        match (others.next(), others.next()) {
            (Some(only), None) => self.followed(only),
            _ => schema,
        }
    }

    fn object(&self, schema: &Value, fields: &Map<String, Value>, path: &str) -> Result<(), Problem> {
        let has_alternatives = ["anyOf", "oneOf", "allOf", "additionalProperties"]
            .iter()
            .any(|key| schema.get(key).is_some_and(|v| *v != Value::Bool(false)));
        let Some(known) = schema.get("properties").and_then(Value::as_object).filter(|_| !has_alternatives) else {
            return Ok(());
        };
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let mut missing = required.filter(|field| !fields.contains_key(*field));
        let unknown = fields.keys().find(|field| !known.contains_key(*field));
        if let Some(field) = unknown {
            let problem = Problem::bad_request("unknown_field", format!("`{path}` has no field `{field}`"));
            return Err(problem.at(format!("{path}.{field}")).hint(hint(field, known.keys().map(String::as_str))));
        }
        if let Some(field) = missing.next() {
            let expected = known.get(field).map_or("a value", |of| self.kind(of));
            let detail = format!("`{path}.{field}` is missing: {expected} is expected");
            return Err(Problem::bad_request("missing_field", detail).at(format!("{path}.{field}")));
        }
        fields.iter().try_for_each(|(field, value)| match known.get(field) {
            Some(of) => self.value(of, value, &format!("{path}.{field}")),
            None => Ok(()),
        })
    }

    fn kind(&self, schema: &Value) -> &'static str {
        match self.followed(schema).get("type").and_then(Value::as_str) {
            Some("integer") => "a whole number",
            Some("number") => "a number",
            Some("string") => "a text",
            Some("boolean") => "true or false",
            Some("array") => "a list",
            Some("object") => "an object",
            _ => "a value",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use schemars::JsonSchema;
    use serde::Deserialize;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    #[derive(Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "only its schema is read")]
    struct Order {
        id: u64,
        lines: Vec<Line>,
        note: Option<String>,
        #[serde(default)]
        tags: BTreeMap<String, String>,
        how: How,
    }

    #[derive(Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "only its schema is read")]
    struct Line {
        sku: String,
        #[serde(rename = "pcs")]
        pieces: u32,
    }

    #[derive(Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "only its schema is read")]
    enum How {
        Fast,
        Slow { days: u32 },
    }

    #[track_caller]
    fn checked(payload: &Value) -> String {
        let schema = schemars::schema_for!(Order).to_value();
        match check(&schema, payload, "input") {
            Ok(()) => "fine".to_owned(),
            Err(problem) => {
                format!(
                    "{} {}: {} {}",
                    problem.status,
                    problem.field.as_deref().unwrap(),
                    problem.detail,
                    problem.hint.as_deref().unwrap_or_default()
                )
            }
        }
    }

    #[test]
    fn what_fits_passes() {
        assert_eq!(checked(&json!({"id": 1, "lines": [{"sku": "a", "pcs": 1}], "how": {"Slow": {"days": 3}}})), "fine");
        assert_eq!(
            checked(&json!({"id": 1, "lines": [], "how": "Fast", "note": null, "tags": {"any": "thing"}})),
            "fine"
        );
    }

    #[test]
    fn b49_a_missing_field_is_named_with_what_is_expected() {
        insta::assert_snapshot!(checked(&json!({"lines": [], "how": "Fast"})), @"400 input.id: `input.id` is missing: a whole number is expected ");
        insta::assert_snapshot!(checked(&json!({"id": 1, "lines": [{"sku": "a"}], "how": "Fast"})), @"400 input.lines[0].pcs: `input.lines[0].pcs` is missing: a whole number is expected ");
    }

    #[test]
    fn b49_an_unknown_field_is_named_with_the_nearest() {
        insta::assert_snapshot!(checked(&json!({"id": 1, "lines": [], "how": "Fast", "nots": "x"})), @"400 input.nots: `input` has no field `nots` did you mean `note`?");
        insta::assert_snapshot!(checked(&json!({"id": 1, "lines": [{"sku": "a", "pieces": 1}], "how": "Fast"})), @"400 input.lines[0].pieces: `input.lines[0]` has no field `pieces` there are: `pcs`, `sku`");
    }
}
