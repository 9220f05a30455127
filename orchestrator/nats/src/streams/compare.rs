//! What a server made of a configuration, beside what was asked for.

use serde_json::Value;
use std::fmt;

/// An option that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    option: String,
    wanted: Value,
    found: Value,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { option, wanted, found } = self;
        match found {
            Value::Null => write!(f, "its `{option}` is not set, and must be {wanted}"),
            found => write!(f, "its `{option}` is {found}, and must be {wanted}"),
        }
    }
}

/// The first option that was asked for and is not there. A server may add what it likes.
pub(super) fn difference(wanted: &Value, found: &Value) -> Option<Difference> {
    let differs = |(option, wanted): (&String, &Value)| {
        let found = &found[option.as_str()];
        let is_there = match (wanted, found) {
            // A set, in whatever order.
            (Value::Array(wanted), Value::Array(found)) => {
                wanted.len() == found.len() && wanted.iter().all(|item| found.contains(item))
            }
            (Value::Object(_), found) => difference(wanted, found).is_none(),
            (wanted, found) => wanted == found,
        };
        (!is_there).then(|| Difference { option: option.clone(), wanted: wanted.clone(), found: found.clone() })
    };
    wanted.as_object()?.iter().find_map(differs)
}
