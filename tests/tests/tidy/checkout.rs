//! The files of the checkout.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A Rust file that is not a test.
pub(crate) struct Source {
    /// From the root.
    pub(crate) path: String,
    text: String,
}

impl Source {
    /// Without the unit tests at its foot.
    pub(crate) fn production(&self) -> &str {
        self.text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default()
    }

    /// Lines of code with their numbers; comments are left out.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.production().lines().enumerate();
        lines.map(|(n, line)| (n + 1, line)).filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace").to_owned()
}

fn git(arguments: &[&str]) -> Vec<String> {
    let output = Command::new("git").arg("ls-files").args(arguments).current_dir(root()).output().expect("git runs");
    assert!(output.status.success(), "git: {}", String::from_utf8_lossy(&output.stderr));
    let mut paths: Vec<_> =
        String::from_utf8(output.stdout).expect("paths in UTF-8").lines().map(str::to_owned).collect();
    // A file may be listed that was deleted just now.
    paths.retain(|path| root().join(path).is_file());
    paths
}

/// Files that are committed, or will be with the next commit.
pub(crate) fn tracked() -> Vec<String> {
    git(&["--cached"])
}

/// These, and files that git does not ignore.
pub(crate) fn visible() -> Vec<String> {
    git(&["--cached", "--others", "--exclude-standard"])
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(crate) fn size(path: &str) -> u64 {
    fs::metadata(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}")).len()
}

/// Files with text in them, and the text.
pub(crate) fn texts() -> Vec<(String, String)> {
    let text = |path: String| Some((path.clone(), String::from_utf8(fs::read(root().join(&path)).ok()?).ok()?));
    visible().into_iter().filter_map(text).collect()
}

pub(crate) fn sources() -> Vec<Source> {
    let is_test = |path: &str| path.contains("/tests/") || path.ends_with("/tests.rs") || path.contains("/examples/");
    let rust = visible().into_iter().filter(|path| path.ends_with(".rs") && !is_test(path));
    rust.map(|path| Source { text: read(&path), path }).collect()
}

/// Whether `word` stands in `line`, not as part of a longer one.
pub(crate) fn is_word_in(line: &str, word: &str) -> bool {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    line.match_indices(word)
        .any(|(at, _)| !part(line[..at].chars().next_back()) && !part(line[at + word.len()..].chars().next()))
}

/// Whether a path that begins with `start` stands in `line`, rather than a longer path with `start` in it.
pub(crate) fn is_path_in(line: &str, start: &str) -> bool {
    let longer = |c: char| c.is_ascii_alphanumeric() || "._-/})~".contains(c);
    line.match_indices(start).any(|(at, _)| !line[..at].chars().next_back().is_some_and(longer))
}

#[test]
fn words_and_paths_are_told_from_parts_of_longer_ones() {
    assert!(is_word_in("a WORD.", "WORD") && !is_word_in("SWORDS", "WORD") && !is_word_in("WORD_2", "WORD"));
    assert!(is_path_in("see `/home/x`", "/home/") && !is_path_in("/var/home/x", "/home/"));
}

#[test]
fn tests_and_comments_are_no_code() {
    let text = "// a\nlet b;\n    /// c\n\n#[cfg(test)]\nmod tests {\n    d();\n}\n".to_owned();
    let source = Source { path: String::new(), text };
    assert_eq!(source.code().filter(|(_, line)| !line.is_empty()).collect::<Vec<_>>(), [(2, "let b;")]);
}
