//! Opens the database that an address names, and brings its tables up to date.

use std::{fs::File, path::Path, str::FromStr as _, time::Duration};

use sqlx::{
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{Database, DatabaseError};

/// Readers beside the one writer that SQLite allows; the rest wait here, in order, rather than in its busy handler.
const SQLITE_CONNECTIONS: u32 = 4;
/// A gateway's statements are short; a server allows 100 connections by default.
const POSTGRES_CONNECTIONS: u32 = 8;
/// How long a statement waits for a connection: whoever is at the door is told to come again rather than kept.
const PATIENCE: Duration = Duration::from_secs(5);

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// File of a SQLite address (`sqlite:subtide.db`); `None` for other addresses.
pub(crate) fn sqlite_file(url: &str) -> Option<&Path> {
    let path = url.strip_prefix("sqlite:")?;
    let path = path.strip_prefix("//").unwrap_or(path);
    Some(Path::new(path.split('?').next().unwrap_or(path)))
}

impl Database {
    /// Opens `url`: `sqlite:FILE`, made when it is not there, or `postgres://…`.
    ///
    /// # Errors
    /// When the address is neither, nothing answers there, or its tables are newer than this program.
    pub async fn open(url: &str) -> Result<Self, DatabaseError> {
        if let Some(file) = sqlite_file(url) {
            return sqlite(url, file).await;
        }
        let pool = if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            // sqlx repeats the address in its message, with the password.
            let options = PgConnectOptions::from_str(url)
                .map_err(|_| DatabaseError::Url("it is not of the form postgres://USER:PASSWORD@HOST/NAME".into()))?;
            let pool = PgPoolOptions::new().max_connections(POSTGRES_CONNECTIONS).acquire_timeout(PATIENCE);
            pool.connect_with(options).await?
        } else {
            return Err(DatabaseError::Url("it begins neither with sqlite: nor with postgres:".into()));
        };
        // Of several at once, one does it: sqlx takes a lock on the server.
        MIGRATIONS.run(&pool).await?;
        Ok(Self::Postgres(pool))
    }

    /// Whether it answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), DatabaseError> {
        super::on!(self, |pool| sqlx::query("SELECT 1").execute(pool).await.map(drop))?;
        Ok(())
    }

    /// Closes every connection, those in use as soon as they are done.
    pub async fn close(&self) {
        super::on!(self, |pool| pool.close().await);
    }
}

async fn sqlite(url: &str, file: &Path) -> Result<Database, DatabaseError> {
    let options = SqliteConnectOptions::from_str(url).map_err(|error| DatabaseError::Url(error.to_string()))?;
    let unusable = |error: std::io::Error| DatabaseError::Url(format!("{}: {error}", file.display()));
    let turn = take_turn(file).await.map_err(unusable)?;
    create_private(file).map_err(unusable)?;
    let options = options
        .journal_mode(SqliteJournalMode::Wal)
        // With a write-ahead log a crash loses nothing; the loss of power may lose the last sign-ins, never the file.
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(PATIENCE)
        .foreign_keys(true);
    let pool = SqlitePoolOptions::new().max_connections(SQLITE_CONNECTIONS).acquire_timeout(PATIENCE);
    let pool = pool.connect_with(options).await?;
    MIGRATIONS.run(&pool).await?;
    drop(turn);
    Ok(Database::Sqlite(pool))
}

/// Waits until nobody else opens this database, in this process or another: SQLite refuses to begin its log twice at once,
/// and sqlx would make the tables twice. The lock is on a file of its own, for a process that closes the database's file
/// loses the locks that SQLite has on it. It ends with what is returned, or with the process.
async fn take_turn(file: &Path) -> std::io::Result<File> {
    let mut path = file.as_os_str().to_owned();
    path.push("-opening");
    let taken = tokio::task::spawn_blocking(move || {
        let mut options = File::options();
        options.create(true).truncate(false).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let turn = options.open(path)?;
        turn.lock().map(|()| turn)
    });
    taken.await.map_err(std::io::Error::other)?
}

/// Makes the file readable for its owner alone; SQLite gives its side files the same mode. One that is there is left alone.
fn create_private(file: &Path) -> std::io::Result<()> {
    let mut options = File::options();
    options.create_new(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(file) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            #[cfg(unix)]
            if std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(file)?.permissions()) & 0o007 != 0 {
                tracing::warn!(file = %file.display(), "everybody on this machine may open the database; chmod 600 it");
            }
            Ok(())
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_its_file() {
        assert_eq!(sqlite_file("sqlite:subtide.db"), Some(Path::new("subtide.db")));
        assert_eq!(sqlite_file("sqlite:///var/lib/a.db?mode=rw"), Some(Path::new("/var/lib/a.db")));
        assert_eq!(sqlite_file("postgres://localhost/a"), None);
    }

    #[tokio::test]
    async fn an_address_that_cannot_be_used_is_told_without_its_password() {
        for url in ["mysql://u:hush@h/d", "postgres://u:hush@[broken/d", "sqlite:/nonexistent/hush/a.db"] {
            let error = Database::open(url).await.unwrap_err().to_string();
            assert!(error.contains("DATABASE_URL") && !error.contains("hush@"), "{error}");
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn the_file_is_its_owner_s_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("people.db");
        let database = Database::open(&format!("sqlite:{}", file.display())).await.unwrap();
        database.ping().await.unwrap();
        for entry in std::fs::read_dir(directory.path()).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
        }
    }
}
