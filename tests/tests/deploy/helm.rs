//! A chart rendered as Helm does it: Go's templates, with those of Helm's functions that the chart calls.

use gotmpl::{FuncMap, MissingKey, Template, TemplateError, Value};
use serde_json::{Map, Value as Json, json};
use std::{
    fs,
    path::Path,
    sync::{Arc, OnceLock},
};

type Answer = Result<Value, TemplateError>;
type Function = fn(&[Value]) -> Answer;

/// A chart's files.
pub(crate) struct Chart {
    pub(crate) about: Json,
    pub(crate) values: Json,
    files: Vec<String>,
    template: Arc<OnceLock<Template>>,
}

impl Chart {
    pub(crate) fn load(folder: &Path) -> Self {
        let templates = fs::read_dir(folder.join("templates")).unwrap().map(|entry| entry.unwrap().path());
        let mut paths: Vec<String> = templates.map(|path| path.to_str().unwrap().to_owned()).collect();
        paths.sort();
        let template: Arc<OnceLock<Template>> = Arc::default();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        // Stricter than Helm: what a template reads is a value that has a default.
        let parsed = Template::new("").missing_key(MissingKey::Error).funcs(functions(&template)).parse_files(&paths);
        assert!(template.set(parsed.unwrap()).is_ok());
        Self {
            about: read_yaml(&folder.join("Chart.yaml")),
            values: read_yaml(&folder.join("values.yaml")),
            files: paths.iter().map(|path| path.rsplit('/').next().unwrap().to_owned()).collect(),
            template,
        }
    }

    /// The objects, as `helm template` prints them but in the order of their files; then what an installation prints.
    ///
    /// # Errors
    /// What the templates have against the values.
    pub(crate) fn render(&self, values: &Json) -> Result<(String, String), String> {
        let about = |key: &str| self.about[key].clone();
        let data = json!({
            "Values": merged(&self.values, values),
            "Release": {"Name": "shop", "Namespace": "sagas", "Service": "Helm"},
            "Chart": {"Name": about("name"), "Version": about("version"), "AppVersion": about("appVersion")},
        });
        let data = gotmpl::to_value(&data).map_err(|error| error.to_string())?;
        let render = |file: &str| {
            let text = self.template.get().unwrap().execute_template_to_string(file, &data);
            text.map_err(|error| format!("{file}: {error}"))
        };
        let mut objects = String::new();
        for file in self.files.iter().filter(|file| file.ends_with(".yaml")) {
            let text = render(file)?;
            if !text.trim().is_empty() {
                objects += &format!("---\n# {file}\n{}\n", text.trim_matches('\n'));
            }
        }
        Ok((objects, render("NOTES.txt")?))
    }
}

/// The one document in a file.
pub(crate) fn read_yaml(path: &Path) -> Json {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("failed to read {}: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Maps are merged, all else is replaced.
fn merged(base: &Json, over: &Json) -> Json {
    match (base, over) {
        (Json::Object(base), Json::Object(over)) => {
            let mut all = base.clone();
            for (key, value) in over {
                let value = base.get(key).map_or_else(|| value.clone(), |base| merged(base, value));
                all.insert(key.clone(), value);
            }
            Json::Object(all)
        }
        _ => over.clone(),
    }
}

fn functions(template: &Arc<OnceLock<Template>>) -> FuncMap {
    let template = template.clone();
    let include = move |args: &[Value]| -> Answer {
        let [name, data] = these(args)?;
        Ok(text(template.get().unwrap().execute_template_to_string(&name.to_string(), data)?))
    };
    let plain: [(&str, Function); 12] = [
        ("contains", |args| {
            let [part, whole] = these(args)?;
            Ok(Value::Bool(whole.to_string().contains(&part.to_string())))
        }),
        ("default", |args| {
            let [default, value] = these(args)?;
            Ok(if value.is_truthy() { value } else { default }.clone())
        }),
        ("fail", |args| {
            let [why] = these(args)?;
            Err(TemplateError::Exec(why.to_string()))
        }),
        ("has", |args| {
            let [one, all] = these(args)?;
            Ok(Value::Bool(matches!(all, Value::List(all) if all.contains(one))))
        }),
        ("list", |args| Ok(Value::List(args.into()))),
        ("nindent", |args| {
            let [by, lines] = these(args)?;
            let margin = format!("\n{}", " ".repeat(number(by)?));
            Ok(text(margin.clone() + &lines.to_string().replace('\n', &margin)))
        }),
        ("quote", |args| {
            let [value] = these(args)?;
            Ok(text(Json::String(value.to_string()).to_string()))
        }),
        ("replace", |args| {
            let [old, new, whole] = these(args)?;
            Ok(text(whole.to_string().replace(&old.to_string(), &new.to_string())))
        }),
        ("toYaml", |args| {
            let [value] = these(args)?;
            let yaml = serde_saphyr::to_string(&json(value)).map_err(|error| TemplateError::Exec(error.to_string()))?;
            Ok(text(yaml.trim_end()))
        }),
        ("trimSuffix", |args| {
            let [suffix, whole] = these(args)?;
            let whole = whole.to_string();
            Ok(text(whole.strip_suffix(&suffix.to_string()).unwrap_or(&whole)))
        }),
        ("trunc", |args| {
            let [most, whole] = these(args)?;
            Ok(text(whole.to_string().chars().take(number(most)?).collect::<String>()))
        }),
        ("upper", |args| {
            let [whole] = these(args)?;
            Ok(text(whole.to_string().to_uppercase()))
        }),
    ];
    let plain = plain.into_iter().map(|(name, function)| (name.to_owned(), Arc::new(function) as gotmpl::ValueFunc));
    plain.chain([("include".to_owned(), Arc::new(include) as gotmpl::ValueFunc)]).collect()
}

fn these<const N: usize>(args: &[Value]) -> Result<&[Value; N], TemplateError> {
    args.try_into().map_err(|_| TemplateError::Exec(format!("{N} arguments are wanted, and {} are given", args.len())))
}

fn number(value: &Value) -> Result<usize, TemplateError> {
    let number = value.as_int().and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| TemplateError::Exec(format!("{value} is not a number")))
}

fn text(text: impl Into<Arc<str>>) -> Value {
    Value::String(text.into())
}

fn json(value: &Value) -> Json {
    match value {
        Value::Bool(value) => json!(value),
        Value::Int(number) => json!(number),
        Value::Uint(number) => json!(number),
        Value::Float(number) => json!(number),
        Value::String(text) => json!(&**text),
        Value::List(all) => all.iter().map(json).collect(),
        Value::Map(all) => {
            Json::Object(all.iter().map(|(key, value)| (key.to_string(), json(value))).collect::<Map<_, _>>())
        }
        Value::Nil | Value::Function(_) => Json::Null,
    }
}
