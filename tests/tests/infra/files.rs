//! What lies in the repository, read, broken on purpose, and judged: for the tests of `infra/` and of `cloudflared/`.

use tests::stack::repository;
use yaml_serde::Value;

/// Merges within merges in compose.yml, and one more.
const MERGES: usize = 3;

pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// YAML, or JSON, which is YAML too; with its merges made.
pub(crate) fn yaml(text: &str) -> Value {
    let mut value: Value = yaml_serde::from_str(text).unwrap_or_else(|error| panic!("{error} in\n{text}"));
    for _ in 0..MERGES {
        value.apply_merge().unwrap_or_else(|error| panic!("{error} in\n{text}"));
    }
    value
}

/// The texts of a list.
pub(crate) fn words(value: &Value) -> Vec<&str> {
    value.as_sequence().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[track_caller]
pub(crate) fn none(faults: &[String]) {
    assert!(faults.is_empty(), "\n  {}", faults.join("\n  "));
}

/// That `broken`, made from what is in the repository, has a fault that says `word`.
#[track_caller]
pub(crate) fn faulty(what: &str, faults: &[String], word: &str) {
    assert!(faults.iter().any(|fault| fault.contains(word)), "{what}: no fault says `{word}`: {faults:#?}");
}

/// `text` with `from` made `to`; `from` has to be there.
#[track_caller]
pub(crate) fn with(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "`{from}` is not there any more");
    text.replacen(from, to, 1)
}

/// `good` with what stands at `path` (keys and places in lists, with slashes between) made `to`, which is YAML; empty: taken
/// away.
#[track_caller]
pub(crate) fn spoilt(good: &Value, path: &str, to: &str) -> Value {
    let mut whole = good.clone();
    let (parents, last) = path.rsplit_once('/').unwrap_or(("", path));
    let mut place = &mut whole;
    for step in parents.split('/').filter(|step| !step.is_empty()) {
        place = match step.parse::<usize>() {
            Ok(n) if place.is_sequence() => &mut place[n],
            _ => &mut place[step],
        };
        assert!(!place.is_null(), "{path}: there is no {step}");
    }
    match (to, last.parse::<usize>()) {
        ("", Ok(n)) => drop(place.as_sequence_mut().map(|list| list.remove(n))),
        ("", Err(_)) => {
            let removed = place.as_mapping_mut().and_then(|fields| fields.remove(last));
            assert!(removed.is_some(), "{path} is not there any more");
        }
        (to, Ok(n)) => place[n] = yaml(to),
        (to, Err(_)) => place[last] = yaml(to),
    }
    whole
}
