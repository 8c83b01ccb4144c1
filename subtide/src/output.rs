//! Standard output of the commands. Whoever reads it may have had enough (`| head`): that ends a command, and is no fault.

use std::io::{self, Write as _};

/// Why nothing more can be printed.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// Nobody reads any more.
    #[error("nobody reads standard output any more")]
    Closed,
    /// It cannot be written, say because the disk is full.
    #[error("cannot write to standard output: {0}")]
    Failed(io::Error),
}

impl From<io::Error> for OutputError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::Closed } else { Self::Failed(error) }
    }
}

/// Prints text as it is.
///
/// # Errors
/// When nobody reads, or it cannot be written.
pub fn print(text: &str) -> Result<(), OutputError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Prints a line.
///
/// # Errors
/// As [`print`].
pub fn print_line(line: &str) -> Result<(), OutputError> {
    print(&format!("{line}\n"))
}

/// Whether `error` only says that nobody reads standard output any more.
#[must_use]
pub fn is_closed(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref(), Some(OutputError::Closed)))
}
