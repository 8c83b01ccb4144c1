//! One file of a model: downloaded beside its place, checked, then moved into it.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use reqwest::StatusCode;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use shared::backoff::Backoff;
use tokio::{
    fs::{File, OpenOptions},
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufWriter},
};

use super::hub::{Digest, Hub, HubError, HubFile};

/// Attempts in a row that may fail without one new byte.
const BARREN_ATTEMPTS: u32 = 4;
const FIRST_DELAY: Duration = Duration::from_millis(500);
const MAX_DELAY: Duration = Duration::from_secs(10);
/// Of reads and writes: large enough that a file of gigabytes is not a million calls.
const BUFFER_BYTES: usize = 1024 * 1024;

/// Why a file did not arrive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DownloadError {
    /// The hub refused, or cannot be reached.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// It broke off again and again.
    #[error("the transfer of {file} broke off at {have} of {size} bytes; the same command goes on from there")]
    BrokenOff {
        /// The file.
        file: String,
        /// Bytes that are here.
        have: u64,
        /// Bytes it has.
        size: u64,
        /// What went wrong last, if anything but the end of the answer.
        source: Option<HubError>,
    },
    /// All bytes came, and they are not the file's.
    #[error("{file} arrived damaged: its checksum is {found}, the hub says {expected}; it was thrown away, try again")]
    Damaged {
        /// The file.
        file: String,
        /// As the hub says.
        expected: String,
        /// Of what came.
        found: String,
    },
    /// The disk.
    #[error("cannot write {}: {source}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Downloaded,
    AlreadyThere,
}

/// How an attempt ended that did not fail.
enum Attempt {
    Complete,
    BrokenOff(Option<HubError>),
}

/// One file to get into `directory`, which exists.
#[derive(Debug)]
pub(super) struct Download<'a> {
    pub(super) hub: &'a Hub,
    pub(super) url: String,
    pub(super) directory: &'a Path,
    pub(super) file: &'a HubFile,
}

impl Download<'_> {
    /// Leaves the whole, checked file in its place; until then the bytes are in a `.part` file beside it. Without
    /// `force` a file that is already there and intact is left alone.
    ///
    /// # Errors
    /// When the transfer keeps breaking off, the bytes are not those the hub told of, or the disk fails.
    pub(super) async fn run(&self, force: bool) -> Result<Outcome, DownloadError> {
        let place = self.directory.join(&self.file.name);
        if !force && self.is_intact(&place).await? {
            return Ok(Outcome::AlreadyThere);
        }
        let part = self.directory.join(format!("{}.part", self.file.name));
        if force {
            remove(&part).await?;
        }
        let resumed = length(&part).await > 0;
        self.fetch(&part).await?;
        match self.check(&part).await {
            // What a former call left may have been of another version of the file.
            Err(DownloadError::Damaged { .. }) if resumed => {
                self.fetch(&part).await?;
                self.check(&part).await?;
            }
            checked => checked?,
        }
        tokio::fs::rename(&part, &place).await.map_err(|source| disk(&place, source))?;
        self.sync_directory().await?;
        Ok(Outcome::Downloaded)
    }

    /// Brings `part` to its full length, however often the transfer breaks off, as long as it gets on.
    async fn fetch(&self, part: &Path) -> Result<(), DownloadError> {
        let bar = self.bar();
        let mut backoff = Backoff::new(FIRST_DELAY, MAX_DELAY);
        let mut barren = 0;
        loop {
            let before = length(part).await;
            let cause = match self.attempt(part, &bar).await {
                Ok(Attempt::Complete) => break,
                Ok(Attempt::BrokenOff(cause)) => cause,
                Err(DownloadError::Hub(error)) if error.is_transient() => Some(error),
                Err(error) => return Err(error),
            };
            let have = length(part).await;
            if have > before {
                barren = 0;
                backoff.reset();
            } else {
                barren += 1;
            }
            if barren == BARREN_ATTEMPTS {
                let (file, size) = (self.file.name.clone(), self.file.size);
                return Err(DownloadError::BrokenOff { file, have, size, source: cause });
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
        bar.finish();
        Ok(())
    }

    /// One request for what is missing. When this returns, every byte that came is on the disk.
    async fn attempt(&self, part: &Path, bar: &ProgressBar) -> Result<Attempt, DownloadError> {
        let mut have = length(part).await;
        if have > 0 && have == self.file.size {
            return Ok(Attempt::Complete);
        }
        if have > self.file.size {
            have = 0;
        }
        let mut answer = self.hub.open(&self.url, have).await?;
        let mut options = OpenOptions::new();
        if have > 0 && answer.status() == StatusCode::PARTIAL_CONTENT {
            options.append(true);
        } else {
            have = 0;
            options.create(true).write(true).truncate(true);
        }
        let file = options.open(part).await.map_err(|source| disk(part, source))?;
        let mut output = BufWriter::with_capacity(BUFFER_BYTES, file);
        // More than the hub told of is not kept: the checksum could not fit, and the disk may be small.
        let cause = loop {
            bar.set_position(have);
            match answer.chunk().await {
                Ok(Some(bytes)) if have + bytes.len() as u64 <= self.file.size => {
                    output.write_all(&bytes).await.map_err(|source| disk(part, source))?;
                    have += bytes.len() as u64;
                }
                Ok(Some(_) | None) => break None,
                Err(source) => break Some(self.hub.unreachable(source)),
            }
        };
        output.flush().await.map_err(|source| disk(part, source))?;
        output.get_ref().sync_all().await.map_err(|source| disk(part, source))?;
        Ok(if have == self.file.size { Attempt::Complete } else { Attempt::BrokenOff(cause) })
    }

    /// Throws `part` away unless its checksum is the file's.
    async fn check(&self, part: &Path) -> Result<(), DownloadError> {
        let found = self.digest_of(part).await.map_err(|source| disk(part, source))?;
        let expected = self.file.digest.hex();
        if found.eq_ignore_ascii_case(expected) {
            return Ok(());
        }
        remove(part).await?;
        Err(DownloadError::Damaged { file: self.file.name.clone(), expected: expected.to_owned(), found })
    }

    async fn is_intact(&self, place: &Path) -> Result<bool, DownloadError> {
        if length(place).await != self.file.size {
            return Ok(false);
        }
        match self.digest_of(place).await {
            Ok(found) => Ok(found.eq_ignore_ascii_case(self.file.digest.hex())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(disk(place, source)),
        }
    }

    async fn digest_of(&self, path: &Path) -> io::Result<String> {
        match &self.file.digest {
            Digest::Sha256(_) => hash(Sha256::new(), path).await,
            Digest::GitBlob(_) => hash(Sha1::new_with_prefix(format!("blob {}\0", length(path).await)), path).await,
        }
    }

    /// So that the file's new name outlives a power cut.
    async fn sync_directory(&self) -> Result<(), DownloadError> {
        let synced = async { File::open(self.directory).await?.sync_all().await };
        synced.await.map_err(|source| disk(self.directory, source))
    }

    /// Hidden where stderr is no terminal.
    fn bar(&self) -> ProgressBar {
        let bar = ProgressBar::new(self.file.size);
        let template = "{prefix:<26} {bar:30} {bytes:>11} of {total_bytes:<11} {bytes_per_sec:>13} {eta:>5}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.with_prefix(self.file.name.clone())
    }
}

async fn hash<D: sha2::Digest>(mut hasher: D, path: &Path) -> io::Result<String> {
    let mut file = File::open(path).await?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = file.read(&mut buffer).await?;
        if read == 0 {
            return Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
}

/// 0 when there is no such file.
async fn length(path: &Path) -> u64 {
    tokio::fs::metadata(path).await.map_or(0, |metadata| metadata.len())
}

async fn remove(path: &Path) -> Result<(), DownloadError> {
    match tokio::fs::remove_file(path).await {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(disk(path, source)),
        _ => Ok(()),
    }
}

fn disk(path: &Path, source: io::Error) -> DownloadError {
    DownloadError::Disk { path: path.to_owned(), source }
}
