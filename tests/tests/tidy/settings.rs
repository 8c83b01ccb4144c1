//! Keys of the environment: in the code, in infra/env.example, in the compose files and in docs/CONFIG.md, compared.

use std::collections::{BTreeMap, BTreeSet};

use shared::{config::Env, telemetry::LogConfig};
use subtide::roles::Settings;
use yaml_serde::Value;

use super::{
    checkout::{read, root, sources, visible},
    none,
};

pub(crate) const ENV_EXAMPLE: &str = "infra/env.example";
const COMPOSE: &str = "infra/compose.yml";
const CONFIG: &str = "docs/CONFIG.md";
/// Letters of docs/CONFIG.md, and what they stand for: the service in compose.yml, and the rooms whose code reads the key.
/// `shared/` reads for all of them.
const ROLES: [(&str, &str, &[&str]); 3] = [
    ("g", "gateway", &["gateway/", "identity/"]),
    ("s", "stt-worker", &["stt-worker/"]),
    ("t", "translation-worker", &["translation-worker/"]),
];
/// Their default depends on the place or on the role; docs/CONFIG.md says how, and other tests hold it.
const DEPENDS: [&str; 5] = ["ENABLE_AUTH", "DATABASE_URL", "MODELS_DIR", "REDIS_URL", "WEB_UI_DIR"];

pub(crate) fn is_key(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// The string that begins `text`, when it is the name of a variable.
fn quoted_key(text: &str) -> Option<String> {
    let key = text.trim_start().strip_prefix('"')?.split('"').next()?;
    is_key(key).then(|| key.to_owned())
}

/// Keys that the code reads, and the files that name them: constants `ENV_…`, and names given to `Env` directly.
fn readers() -> BTreeMap<String, BTreeSet<String>> {
    let reads = ["env.get(", "env.parse(", "env.parse_or(", "env.seconds_or(", "env.flag_or(", "env.secret("];
    let mut keys = BTreeMap::<String, BTreeSet<String>>::new();
    for source in sources().iter().filter(|source| !source.path.starts_with("xtask/")) {
        for (_, line) in source.code() {
            let constant = line.split_once("const ENV_").and_then(|(_, rest)| rest.split_once(": &str ="));
            let constant = constant.and_then(|(_, value)| quoted_key(value));
            let given = reads.iter().filter_map(|read| quoted_key(line.split_once(read)?.1));
            for key in constant.into_iter().chain(given) {
                keys.entry(key).or_default().insert(source.path.clone());
            }
        }
    }
    keys
}

/// Keys that the code reads.
pub(crate) fn keys_in_code() -> BTreeSet<String> {
    readers().into_keys().collect()
}

/// Keys that env.example sets or shows, with the value there.
pub(crate) fn keys_in_example() -> BTreeMap<String, String> {
    let text = read(ENV_EXAMPLE);
    let settings = text.lines().filter_map(|line| line.strip_prefix('#').unwrap_or(line).split_once('='));
    settings.filter(|(key, _)| is_key(key)).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Keys that the compose files put in themselves, as `${KEY…}`.
pub(crate) fn keys_in_compose() -> BTreeSet<String> {
    let files = visible().into_iter().filter(|path| path.starts_with("infra/compose") && path.ends_with(".yml"));
    files.flat_map(|file| put_in(&read(&file))).collect()
}

fn put_in(text: &str) -> Vec<String> {
    let keys = text.split("${").skip(1);
    keys.filter_map(|rest| rest.split(|c: char| c != '_' && !c.is_ascii_alphanumeric()).next())
        .map(str::to_owned)
        .collect()
}

/// A key as docs/CONFIG.md tells of it.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    key: String,
    /// compose.yml sets it itself.
    fixed: bool,
    /// As it stands there.
    default: String,
    /// Whether it may come from a file.
    secret: bool,
    /// Letters of roles, and commands.
    who: Vec<String>,
}

impl Row {
    /// The value, where it is one that can be typed.
    fn value(&self) -> Option<&str> {
        self.default.strip_prefix('`').and_then(|rest| rest.split('`').next())
    }

    fn is_read_by(&self, letter: &str) -> bool {
        self.who.iter().any(|who| who == letter)
    }
}

/// The table with five columns are keys of programs; those with three, under `heading`, are of compose alone.
fn rows(text: &str) -> (Vec<Row>, Vec<Row>) {
    let (mut programs, mut compose, mut heading) = (Vec::new(), Vec::new(), "");
    for line in text.lines() {
        if let Some(text) = line.strip_prefix("## ") {
            heading = text;
        }
        let line = line.replace("\\|", "\u{1}");
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        match cells[..] {
            [keys, default, form, _, who] if keys.starts_with('`') => {
                programs.extend(row(keys, default, form.starts_with("secret"), who));
            }
            [keys, default, _] if heading == "Only compose" && keys.starts_with('`') => {
                compose.extend(row(keys, default, false, ""));
            }
            _ => {}
        }
    }
    (programs, compose)
}

/// The keys of one line: several share it where they belong together, and then have as many defaults, or one.
fn row(keys: &str, default: &str, secret: bool, who: &str) -> Vec<Row> {
    let keys: Vec<&str> = keys.split(", ").collect();
    let defaults: Vec<&str> = default.split(", ").filter(|one| one.starts_with('`')).collect();
    let who: Vec<String> = who.split([' ', ',', '`']).filter(|word| !word.is_empty()).map(str::to_owned).collect();
    let of = |(n, key): (usize, &&str)| Row {
        key: key.split('`').nth(1).unwrap_or_default().to_owned(),
        fixed: key.ends_with('‡'),
        default: (if defaults.len() == keys.len() && keys.len() > 1 { defaults[n] } else { default }).to_owned(),
        secret,
        who: who.clone(),
    };
    keys.iter().enumerate().map(of).collect()
}

#[test]
fn the_page_of_settings_has_every_key_once_and_no_other() {
    let (programs, compose) = rows(&read(CONFIG));
    let (code, mut files) = (keys_in_code(), keys_in_compose());
    files.retain(|key| !code.contains(key) && !code.contains(key.trim_end_matches("_FILE")));
    let mut faults = Vec::new();
    for (name, known, rows) in [("the code", &code, &programs), ("the compose files", &files, &compose)] {
        let told: BTreeSet<String> = rows.iter().map(|row| row.key.clone()).collect();
        faults.extend(known.difference(&told).map(|key| format!("{CONFIG} does not have {key} of {name}")));
        faults.extend(told.difference(known).map(|key| format!("{CONFIG} has {key}, which {name} does not read")));
        if told.len() < rows.len() {
            faults.push(format!("{CONFIG} has a key of {name} twice"));
        }
    }
    none(faults);
}

#[test]
fn a_key_is_read_by_those_whom_the_page_names() {
    let (programs, _) = rows(&read(CONFIG));
    let readers = readers();
    let mut faults = Vec::new();
    for row in &programs {
        let files: Vec<&String> = readers.get(&row.key).into_iter().flatten().collect();
        for (letter, name, rooms) in ROLES {
            let own = files.iter().any(|file| rooms.iter().any(|room| file.starts_with(room)));
            let may = own || files.iter().any(|file| file.starts_with("shared/"));
            match (row.is_read_by(letter), own, may) {
                (false, true, _) => faults.push(format!("{CONFIG}: {}: {name} reads it, too", row.key)),
                (true, _, false) => faults.push(format!("{CONFIG}: {}: {name} does not read it", row.key)),
                _ => {}
            }
        }
    }
    none(faults);
}

#[test]
fn the_page_and_the_example_tell_the_same_defaults() {
    let (programs, compose) = rows(&read(CONFIG));
    let example = keys_in_example();
    let told = |row: &Row| {
        let shown = example.get(&row.key).filter(|value| !value.is_empty())?;
        (row.value() != Some(shown))
            .then(|| format!("{}: {ENV_EXAMPLE} says {shown}, {CONFIG} {}", row.key, row.default))
    };
    none(programs.iter().chain(&compose).filter_map(told));
}

/// What the roles make of an environment in which `key` is `value`, and everything else as it is by itself.
fn read_by_all(key: &str, value: &str) -> String {
    let models = root().join("models").display().to_string();
    let mut env = Env::of([("MODELS_DIR", models.as_str()), ("WORKER_NAME", "one"), (key, value)]);
    let read = (Settings::from_env(&mut env), LogConfig::from_env(&mut env, "info"));
    let faults = env.finish().map_or_else(|error| error.to_string(), |()| String::new());
    format!("{read:?}{faults}")
}

#[test]
fn a_default_on_the_page_is_that_of_the_code() {
    let (programs, _) = rows(&read(CONFIG));
    let by_itself = read_by_all("NOTHING", "");
    assert_ne!(read_by_all("MAX_SESSIONS", "999"), by_itself, "settings are told apart");
    let of_roles = programs.iter().filter(|row| ROLES.iter().any(|(letter, ..)| row.is_read_by(letter)));
    let mut tried = 0;
    let mut faults = Vec::new();
    for row in of_roles.filter(|row| !DEPENDS.contains(&row.key.as_str())) {
        let Some(value) = row.value() else { continue };
        tried += 1;
        if read_by_all(&row.key, value) != by_itself {
            faults.push(format!("{CONFIG}: {}={value} is not what the code takes by itself", row.key));
        }
    }
    none(faults);
    assert!(tried > 25, "only {tried} defaults were found");
}

#[test]
fn compose_hands_on_every_key_that_a_role_reads() {
    let mut compose: Value = yaml_serde::from_str(&read(COMPOSE)).expect("YAML");
    for _ in 0..3 {
        compose.apply_merge().expect("merges");
    }
    let (programs, _) = rows(&read(CONFIG));
    let mut faults = Vec::new();
    for (letter, service, _) in ROLES {
        let whole = yaml_serde::to_string(&compose["services"][service]).expect("YAML");
        let (put_in, environment) = (put_in(&whole), &compose["services"][service]["environment"]);
        for row in programs.iter().filter(|row| row.is_read_by(letter)) {
            let key = &row.key;
            let own = put_in.contains(key);
            let handed_on = own || row.secret && put_in.contains(&format!("{key}_FILE"));
            if row.fixed && (own || environment.get(key).is_none()) {
                faults.push(format!("{CONFIG}: {key} ‡: compose.yml does not set it itself for {service}"));
            } else if !row.fixed && !handed_on {
                faults.push(format!("{COMPOSE} does not hand {key} on to {service}"));
            }
        }
    }
    none(faults);
}

#[test]
fn the_page_s_tables_are_read_as_people_read_them() {
    let text = "## A\n| key | default | form | what | who |\n| --- | --- | --- | --- | --- |\n\
                | `A` ‡, `B` | `1` s; `2` | secret; x \\| y | text | g `models` |\n\
                ## Only compose\n| `C`, `D` | `c`, `d` | both |\n| `E` | a volume | one |\n";
    let (programs, compose) = rows(text);
    let of = |rows: &[Row]| -> Vec<(String, Option<String>)> {
        rows.iter().map(|row| (row.key.clone(), row.value().map(str::to_owned))).collect()
    };
    let pair = |key: &str, value: Option<&str>| (key.to_owned(), value.map(str::to_owned));
    assert_eq!(of(&programs), [pair("A", Some("1")), pair("B", Some("1"))]);
    assert_eq!((programs[0].fixed, programs[1].fixed, programs[0].secret), (true, false, true));
    assert_eq!(programs[0].who, ["g", "models"]);
    assert_eq!(of(&compose), [pair("C", Some("c")), pair("D", Some("d")), pair("E", None)]);
}

#[test]
fn keys_are_told_from_other_words() {
    assert!(is_key("MODELS_DIR") && !is_key("ModelsDir") && !is_key(""));
    assert_eq!(quoted_key(r#" "REDIS_URL", x)"#).as_deref(), Some("REDIS_URL"));
    assert_eq!(quoted_key("ENV_PORT, x)"), None);
}
