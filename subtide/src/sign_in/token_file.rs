//! The file that keeps a refresh token: readable by its owner alone, replaced whole or not at all.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use client::sign_in::RefreshStore;

/// A file as the place of a refresh token.
#[derive(Debug, Clone)]
pub struct TokenFile(pub PathBuf);

impl RefreshStore for TokenFile {
    fn read(&self) -> anyhow::Result<String> {
        read(&self.0)
    }

    fn write(&self, token: &str) -> anyhow::Result<()> {
        write(&self.0, token)
    }
}

/// The refresh token in `file`.
pub(super) fn read(file: &Path) -> anyhow::Result<String> {
    let name = file.display();
    let found =
        fs::metadata(file).with_context(|| format!("{name} cannot be read; sign in without --refresh first"))?;
    ensure!(is_private(&found), "{name} can be read by others; `chmod 600 {name}`, or sign in again");
    let token = fs::read_to_string(file).with_context(|| format!("{name} cannot be read"))?.trim().to_owned();
    ensure!(!token.is_empty(), "{name} is empty; sign in again");
    Ok(token)
}

/// Puts `token` in the place of what `file` holds.
pub(super) fn write(file: &Path, token: &str) -> anyhow::Result<()> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let written = private(&beside).and_then(|mut new| {
        new.write_all(format!("{token}\n").as_bytes())?;
        new.sync_all()?;
        fs::rename(&beside, file)
    });
    if written.is_err() {
        fs::remove_file(&beside).ok();
    }
    written.with_context(|| format!("{} cannot be written", file.display()))
}

#[cfg(unix)]
fn private(file: &Path) -> std::io::Result<fs::File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)
}

#[cfg(not(unix))]
fn private(file: &Path) -> std::io::Result<fs::File> {
    fs::OpenOptions::new().write(true).create_new(true).open(file)
}

#[cfg(unix)]
fn is_private(found: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    found.mode() & 0o077 == 0
}

/// A profile's directory is its owner's there.
#[cfg(not(unix))]
fn is_private(_found: &fs::Metadata) -> bool {
    true
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    #[test]
    fn a_token_is_kept_from_others_and_replaced_whole() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        assert!(read(&file).is_err());
        write(&file, "one").unwrap();
        write(&file, "two").unwrap();
        assert_eq!(read(&file).unwrap(), "two");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let said = read(&file).unwrap_err().to_string();
        assert!(said.contains("chmod 600"), "{said}");
    }
}
