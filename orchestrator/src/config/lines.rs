//! Where in a TOML file something stands, for errors: the reader of the file does not say.

/// The line, from 1, where the key of that dotted path is set.
pub(super) fn of_key(text: &str, path: &str) -> Option<usize> {
    let mut table = String::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            table = name.trim().to_owned();
            if table == path {
                return Some(number);
            }
        } else if let Some((key, _)) = line.split_once('=') {
            let key: String = key.chars().filter(|c| !c.is_whitespace() && *c != '"' && *c != '\'').collect();
            let key = if table.is_empty() { key } else { format!("{table}.{key}") };
            if key == path || path.strip_prefix(&key).is_some_and(|rest| rest.starts_with('.')) {
                return Some(number);
            }
        }
    }
    None
}

/// `line 3, column 9`, out of an error's text whose rest shows the file.
pub(super) fn of_toml_error(text: &str) -> Option<String> {
    let number = |after: &str| -> Option<u32> {
        let (_, rest) = text.split_once(after)?;
        rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
    };
    Some(format!("line {}, column {}", number("at line ")?, number("column ")?))
}
