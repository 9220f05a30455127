//! JSON from outside, read strictly: what parsers let pass or read differently is refused before anything is made of it.

use super::problem::Problem;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::{cell::RefCell, collections::BTreeSet, fmt};

/// How deep objects and lists may stand in one another.
pub(super) const DEPTH_MAX: usize = 64;

/// Refuses what is not one JSON value of UTF-8 text without repeated keys, NULs and endless depth.
///
/// # Errors
/// What is wrong, and where.
pub(super) fn check(bytes: &[u8]) -> Result<&str, Problem> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Problem::bad_request("bad_json", "the body is empty: line 1, column 1").hint("send a JSON object"));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let (line, column) = position(&bytes[..error.valid_up_to()]);
        Problem::bad_request("bad_encoding", format!("the body is not UTF-8: line {line}, column {column}"))
    })?;
    let found = RefCell::new(None);
    let mut from = serde_json::Deserializer::from_str(text);
    let checked = Check { path: String::new(), depth: 0, found: &found }.deserialize(&mut from);
    match checked.and_then(|()| from.end()) {
        Ok(()) => Ok(text),
        Err(error) => Err(problem(found.into_inner(), &error)),
    }
}

fn position(before: &[u8]) -> (usize, usize) {
    let line = before.iter().filter(|&&byte| byte == b'\n').count();
    let column = before.iter().rev().take_while(|&&byte| byte != b'\n').count();
    (line + 1, column + 1)
}

fn problem(found: Option<Found>, error: &serde_json::Error) -> Problem {
    let at = format!("line {}, column {}", error.line(), error.column());
    match found {
        Some(Found::TooDeep) => Problem::bad_request(
            "too_deep",
            format!("objects and lists stand more than {DEPTH_MAX} deep in one another: {at}"),
        ),
        Some(Found::Twice(path)) => {
            Problem::bad_request("duplicate_key", format!("the key `{path}` stands twice in its object: {at}")).at(path)
        }
        Some(Found::Nul(path)) => {
            let detail = format!("a text holds the character U+0000, which not every database can keep: {at}");
            Problem::unprocessable("nul_in_text", detail).at(path)
        }
        None => {
            let text = error.to_string();
            let why = text.rsplit_once(" at line ").map_or(text.as_str(), |(why, _)| why);
            if why == "number out of range" {
                let detail = format!("a number is larger than any that can be kept: {at}");
                return Problem::unprocessable("number_out_of_range", detail);
            }
            Problem::bad_request("bad_json", format!("the body is not JSON: {why}: {at}"))
        }
    }
}

enum Found {
    TooDeep,
    Twice(String),
    Nul(String),
}

/// Walks a value, with the path to it.
struct Check<'a> {
    path: String,
    depth: usize,
    found: &'a RefCell<Option<Found>>,
}

impl Check<'_> {
    fn stop<E: de::Error>(&self, found: Found) -> E {
        *self.found.borrow_mut() = Some(found);
        E::custom("refused")
    }

    fn text<E: de::Error>(&self, text: &str) -> Result<(), E> {
        if text.contains('\0') { Err(self.stop(Found::Nul(self.path.clone()))) } else { Ok(()) }
    }

    fn within(&self, path: String) -> Check<'_> {
        Check { path, depth: self.depth + 1, found: self.found }
    }

    fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn deeper<E: de::Error>(&self) -> Result<(), E> {
        if self.depth >= DEPTH_MAX { Err(self.stop(Found::TooDeep)) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for Check<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Check<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        self.text(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.deeper()?;
        let mut index = 0;
        while items.next_element_seed(self.within(format!("{}[{index}]", self.path)))?.is_some() {
            index += 1;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        self.deeper()?;
        let mut seen = BTreeSet::new();
        while let Some(key) = fields.next_key::<String>()? {
            self.text(&key)?;
            let path = self.key(&key);
            if !seen.insert(key) {
                return Err(self.stop(Found::Twice(path)));
            }
            fields.next_value_seed(self.within(path))?;
        }
        Ok(())
    }
}
