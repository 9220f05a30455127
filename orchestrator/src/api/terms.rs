//! serde's errors in JSON's terms: whoever sent the JSON knows nothing of structs and `u32`.

/// What serde said, without Rust's names and without a place in a text that nobody sees.
pub(super) fn in_json(text: &str) -> String {
    let text = text.rsplit_once(" at line ").map_or(text, |(text, _)| text);
    let Some((before, expected)) = text.split_once(", expected ") else { return text.to_owned() };
    let kinds = ["invalid type: ", "invalid value: ", "invalid length "];
    let Some((at, found)) = kinds.iter().find_map(|kind| before.split_once(kind)) else { return text.to_owned() };
    format!("{at}{} is expected, not {}", kind(expected), self::found(found))
}

fn kind(expected: &str) -> String {
    if let Some((least, most)) = range(expected) {
        return format!("a whole number from {least} to {most}");
    }
    let first = expected.split(' ').next().unwrap_or_default();
    let kind = match expected {
        "unit" => "null",
        "a boolean" => "true or false",
        "a string" | "a borrowed string" | "str" => "a text",
        "f32" | "f64" => "a number",
        "a map" => "an object",
        "a sequence" => "a list",
        _ if expected.starts_with("a tuple") || first == "tuple" => "a list",
        _ if first == "struct" => "an object",
        _ if first == "enum" || expected.contains(" enum ") => "a text that names one of its kinds, or an object",
        other => other,
    };
    kind.to_owned()
}

/// What a type of whole numbers can hold, by its name in Rust or, with a longer one, in a JSON schema.
pub(super) fn range(name: &str) -> Option<(i128, i128)> {
    let (signed, bits) = match name {
        "u8" | "uint8" => (false, 8),
        "u16" | "uint16" => (false, 16),
        "u32" | "uint32" => (false, 32),
        "u64" | "usize" | "uint64" | "uint" => (false, 64),
        "i8" | "int8" => (true, 8),
        "i16" | "int16" => (true, 16),
        "i32" | "int32" => (true, 32),
        "i64" | "isize" | "int64" | "int" => (true, 64),
        _ => return None,
    };
    let all = 1_i128 << bits;
    Some(if signed { (-(all / 2), all / 2 - 1) } else { (0, all - 1) })
}

fn found(found: &str) -> String {
    let quoted = |kind: &str| found.strip_prefix(kind)?.strip_prefix(" `")?.strip_suffix('`');
    if let Some(number) = quoted("integer").or_else(|| quoted("floating point")) {
        return number.to_owned();
    }
    match found {
        "map" => "an object".to_owned(),
        "sequence" => "a list".to_owned(),
        "null" | "unit" => "null".to_owned(),
        _ => quoted("boolean").map(str::to_owned).unwrap_or_else(|| match found.strip_prefix("string ") {
            Some(text) => format!("the text {text}"),
            None => found.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::{in_json, range};
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only its errors are read")]
    struct Price {
        minor: i64,
        currency: String,
        paid: bool,
    }

    #[track_caller]
    fn said(json: &str) -> String {
        in_json(&serde_json::from_str::<Vec<Price>>(json).unwrap_err().to_string())
    }

    #[test]
    fn no_error_speaks_of_rust() {
        insta::assert_snapshot!(said("7"), @"a list is expected, not 7");
        insta::assert_snapshot!(said("[7]"), @"an object is expected, not 7");
        insta::assert_snapshot!(said(r#"[{"minor": 0.5}]"#), @"a whole number from -9223372036854775808 to 9223372036854775807 is expected, not 0.5");
        insta::assert_snapshot!(said(r#"[{"minor": 1, "currency": null}]"#), @"a text is expected, not null");
        insta::assert_snapshot!(said(r#"[{"minor": 1, "currency": "EUR", "paid": "yes"}]"#), @r#"true or false is expected, not the text "yes""#);
        insta::assert_snapshot!(said(r#"[{"minor": 1, "currency": {}}]"#), @"a text is expected, not an object");
        insta::assert_snapshot!(said(r#"[{"minor": 1}]"#), @"missing field `currency`");
        assert_eq!(
            in_json("unknown variant `x`, expected `a` or `b` at line 1 column 2"),
            "unknown variant `x`, expected `a` or `b`"
        );
        assert_eq!(
            in_json("seats: invalid value: integer `-1`, expected u8"),
            "seats: a whole number from 0 to 255 is expected, not -1"
        );
    }

    #[test]
    fn ranges_are_those_of_the_types() {
        assert_eq!(range("u32"), Some((0, i128::from(u32::MAX))));
        assert_eq!(range("uint32"), Some((0, i128::from(u32::MAX))));
        assert_eq!(range("int8"), Some((-128, 127)));
        assert_eq!(range("i64"), Some((i128::from(i64::MIN), i128::from(i64::MAX))));
        assert_eq!(range("usize"), Some((0, i128::from(u64::MAX))));
        assert_eq!(range("uint"), Some((0, i128::from(u64::MAX))));
        for other in ["", "size", "struct Money", "double", "a string", "u128"] {
            assert_eq!(range(other), None, "{other}");
        }
    }
}
