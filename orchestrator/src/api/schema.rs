//! What a payload lacks and what it has too much, by its JSON schema. serde leaves unknown fields out without a word, and a field
//! that is misspelt would be missed much later, elsewhere.

use super::{problem::Problem, terms::range};
use crate::nearest::hint;
use serde_json::{Map, Value};

/// Where in the payload the walk is, and the schema's definitions.
struct Walk<'a> {
    definitions: Option<&'a Value>,
}

/// Refuses a payload that is of another kind than its schema says, or has an object that lacks a required field or has one that its
/// schema does not know.
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
        if value.is_null() && self.may_be_null(schema) {
            return Ok(());
        }
        let schema = self.followed(schema);
        if let Some(expected) = misfit(schema, value) {
            let code = if path.split(['.', '[']).next() == Some("input") { "bad_input" } else { "bad_value" };
            let detail = format!("`{path}` must be {expected}, and is {}", shown(value));
            return Err(Problem::unprocessable(code, detail).at(path));
        }
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

    fn named<'s>(&'s self, schema: &'s Value) -> &'s Value {
        let name = schema.get("$ref").and_then(|target| target.as_str()?.rsplit('/').next());
        name.and_then(|name| self.definitions?.get(name)).unwrap_or(schema)
    }

    fn may_be_null(&self, schema: &Value) -> bool {
        alternatives(self.named(schema)).any(is_null)
    }

    fn followed<'s>(&'s self, schema: &'s Value) -> &'s Value {
        let schema = self.named(schema);
        // One alternative beside `null` is none.
        let mut others = alternatives(schema).filter(|of| !is_null(of));
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
        self.followed(schema).get("type").and_then(Value::as_str).map_or("a value", kind)
    }
}

fn alternatives(schema: &Value) -> impl Iterator<Item = &Value> {
    schema.get("anyOf").and_then(Value::as_array).into_iter().flatten()
}

fn is_null(schema: &Value) -> bool {
    schema.get("type").is_some_and(|kind| kind == "null")
}

/// How deep a shape is spelt out.
#[cfg(feature = "cli")]
const SHAPE_DEPTH_MAX: usize = 4;

/// What JSON fits a schema, in a line: `{"id": a text, "note"?: a text}`, where `?` stands behind what may be left out.
#[cfg(feature = "cli")]
pub(crate) fn shape(schema: &Value) -> String {
    let definitions = schema.get("$defs").or_else(|| schema.get("definitions"));
    Walk { definitions }.shape(schema, SHAPE_DEPTH_MAX)
}

#[cfg(feature = "cli")]
impl Walk<'_> {
    fn shape(&self, schema: &Value, depth: usize) -> String {
        let schema = self.followed(schema);
        if let Some(one) = schema.get("const") {
            return one.to_string();
        }
        let several = |all: &[Value]| all.iter().map(|one| self.shape(one, depth)).collect::<Vec<_>>().join(" | ");
        for key in ["oneOf", "anyOf"] {
            if let Some(all) = schema.get(key).and_then(Value::as_array) {
                return several(all);
            }
        }
        if let Some(all) = schema.get("enum").and_then(Value::as_array) {
            return all.iter().map(Value::to_string).collect::<Vec<_>>().join(" | ");
        }
        if let (Some(properties), true) = (schema.get("properties").and_then(Value::as_object), depth > 0) {
            let required: Vec<&str> = schema
                .get("required")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let field = |(name, of): (&String, &Value)| {
                let may_be_left_out = if required.contains(&name.as_str()) { "" } else { "?" };
                format!("\"{name}\"{may_be_left_out}: {}", self.shape(of, depth - 1))
            };
            return format!("{{{}}}", properties.iter().map(field).collect::<Vec<_>>().join(", "));
        }
        if let (Some(items), true) = (schema.get("items"), depth > 0) {
            return format!("[{}, …]", self.shape(items, depth - 1));
        }
        match schema.get("type") {
            Some(Value::String(name)) => kind(name).to_owned(),
            Some(Value::Array(names)) => {
                names.iter().filter_map(Value::as_str).map(kind).collect::<Vec<_>>().join(" or ")
            }
            _ => "a value".to_owned(),
        }
    }
}

fn kind(name: &str) -> &'static str {
    match name {
        "integer" => "a whole number",
        "number" => "a number",
        "string" => "a text",
        "boolean" => "true or false",
        "array" => "a list",
        "object" => "an object",
        "null" => "null",
        _ => "a value",
    }
}

/// What is expected, in words, if `value` is of another kind.
fn misfit(schema: &Value, value: &Value) -> Option<String> {
    let kinds: Vec<&str> = match schema.get("type")? {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    let limits = schema.get("format").and_then(Value::as_str).and_then(range);
    let within = |n: i128| limits.is_none_or(|(least, most)| (least..=most).contains(&n));
    let fits = |kind: &&str| match (*kind, value) {
        ("integer", Value::Number(n)) => {
            n.as_i64().map(i128::from).or_else(|| n.as_u64().map(i128::from)).is_some_and(within)
        }
        ("number", Value::Number(_))
        | ("string", Value::String(_))
        | ("boolean", Value::Bool(_))
        | ("array", Value::Array(_))
        | ("object", Value::Object(_))
        | ("null", Value::Null) => true,
        _ => false,
    };
    if kinds.iter().any(fits) {
        return None;
    }
    let words = |kind: &&str| match (*kind, limits) {
        ("integer", Some((least, most))) => format!("a whole number from {least} to {most}"),
        (other, _) => self::kind(other).to_owned(),
    };
    Some(kinds.iter().map(words).collect::<Vec<_>>().join(" or "))
}

/// A value, as an error quotes it.
fn shown(value: &Value) -> String {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) if text.chars().count() <= SHOWN_MAX => format!("the text {value}"),
        Value::String(_) => "a longer text".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// The longest text that an error quotes, in characters.
const SHOWN_MAX: usize = 40;

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
        gift: Option<Line>,
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
    #[cfg(feature = "cli")]
    fn a_shape_says_what_may_be_sent() {
        let schema = schemars::schema_for!(Order).to_value();
        insta::assert_snapshot!(super::shape(&schema), @r#"{"gift"?: {"pcs": a whole number, "sku": a text}, "how": "Fast" | {"Slow": {"days": a whole number}}, "id": a whole number, "lines": [{"pcs": a whole number, "sku": a text}, …], "note"?: a text or null, "tags"?: an object}"#);
        insta::assert_snapshot!(super::shape(&schemars::schema_for!(()).to_value()), @"null");
    }

    #[test]
    fn what_fits_passes() {
        assert_eq!(checked(&json!({"id": 1, "lines": [{"sku": "a", "pcs": 1}], "how": {"Slow": {"days": 3}}})), "fine");
        assert_eq!(
            checked(
                &json!({"id": 1, "lines": [], "how": "Fast", "note": null, "gift": null, "tags": {"any": "thing"}})
            ),
            "fine"
        );
    }

    #[test]
    fn b49_a_missing_field_is_named_with_what_is_expected() {
        insta::assert_snapshot!(checked(&json!({"lines": [], "how": "Fast"})), @"400 input.id: `input.id` is missing: a whole number is expected ");
        insta::assert_snapshot!(checked(&json!({"id": 1, "lines": [{"sku": "a"}], "how": "Fast"})), @"400 input.lines[0].pcs: `input.lines[0].pcs` is missing: a whole number is expected ");
    }

    #[test]
    fn a_value_of_another_kind_is_named_in_the_terms_of_json() {
        let with = |field: &str, value: Value| {
            let mut order = json!({"id": 1, "lines": [], "how": "Fast"});
            order[field] = value;
            checked(&order)
        };
        insta::assert_snapshot!(with("id", json!("7")), @r#"422 input.id: `input.id` must be a whole number from 0 to 18446744073709551615, and is the text "7" "#);
        insta::assert_snapshot!(with("id", json!(-7)), @"422 input.id: `input.id` must be a whole number from 0 to 18446744073709551615, and is -7 ");
        insta::assert_snapshot!(with("id", json!(0.5)), @"422 input.id: `input.id` must be a whole number from 0 to 18446744073709551615, and is 0.5 ");
        insta::assert_snapshot!(with("note", json!(true)), @"422 input.note: `input.note` must be a text or null, and is true ");
        insta::assert_snapshot!(with("gift", json!(7)), @"422 input.gift: `input.gift` must be an object, and is 7 ");
        insta::assert_snapshot!(with("lines", json!({})), @"422 input.lines: `input.lines` must be a list, and is an object ");
        insta::assert_snapshot!(with("lines", json!([7])), @"422 input.lines[0]: `input.lines[0]` must be an object, and is 7 ");
        insta::assert_snapshot!(checked(&json!([])), @"422 input: `input` must be an object, and is a list ");
    }

    #[test]
    fn b49_an_unknown_field_is_named_with_the_nearest() {
        insta::assert_snapshot!(checked(&json!({"id": 1, "lines": [], "how": "Fast", "nots": "x"})), @"400 input.nots: `input` has no field `nots` did you mean `note`?");
        insta::assert_snapshot!(checked(&json!({"id": 1, "lines": [{"sku": "a", "pieces": 1}], "how": "Fast"})), @"400 input.lines[0].pieces: `input.lines[0]` has no field `pieces` there are: `pcs`, `sku`");
    }
}
