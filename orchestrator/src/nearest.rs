//! "Did you mean": the known name that a misspelt one is nearest to.

/// The one of `known` that `word` is probably meant to be; none when nothing is near.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let distance = |name: &str| strsim::damerau_levenshtein(&word, &name.to_lowercase());
    let far = (word.chars().count() / 3).max(2);
    known
        .into_iter()
        .map(|name| (distance(name), name))
        .filter(|(distance, _)| *distance <= far)
        .min()
        .map(|(_, name)| name)
}

/// As the end of a sentence: ` did you mean …?`, or what there is to choose from.
pub(crate) fn hint<'a>(word: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(word, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let known: Vec<_> = known.into_iter().map(|name| format!("`{name}`")).collect();
            if known.is_empty() { "there is none".to_owned() } else { format!("there are: {}", known.join(", ")) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_is_seen_through_and_another_word_is_not() {
        let known = ["http.listen", "namespace", "key"];
        assert_eq!(nearest("http_listen", known), Some("http.listen"));
        assert_eq!(nearest("Namespase", known), Some("namespace"));
        assert_eq!(nearest("kye", known), Some("key"));
        assert_eq!(nearest("database", known), None);
    }
}
