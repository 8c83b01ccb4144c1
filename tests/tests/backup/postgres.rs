//! The same where people are in PostgreSQL.

use std::{fs, os::unix::fs::PermissionsExt as _};

use tests::{postgres::PostgresServer, redis_server::RedisServer};

use super::{Command, IN_USE, Installation, StatusCode, THERE, have, opens};

const SECRET: &str = "a secret of at least thirty-two bytes";

fn on_postgres(server: &PostgresServer) -> Installation {
    let mut installation = Installation::on_sqlite();
    let address = installation.state.path().join("address");
    fs::write(&address, server.url()).unwrap();
    fs::set_permissions(&address, fs::Permissions::from_mode(0o600)).unwrap();
    let only = ["--only".to_owned(), "database".to_owned()];
    installation.places = ["--postgres".to_owned(), address.display().to_string()].into_iter().chain(only).collect();
    installation.env = vec![("DATABASE_URL", server.url()), ("AUTH_SECRET", SECRET.to_owned())];
    installation
}

#[track_caller]
fn sql(server: &PostgresServer, text: &str) -> String {
    let mut psql = Command::new("psql");
    psql.args(["--no-psqlrc", "-qtA", "-v", "ON_ERROR_STOP=1", &server.url(), "-c", text]);
    let output = psql.output().unwrap();
    assert!(output.status.success(), "{text}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn people_in_postgresql_come_back() {
    let Some(server) = PostgresServer::spawn().await else { return };
    if !have(&["pg_dump", "pg_restore", "psql"]) {
        return;
    }
    let redis = RedisServer::spawn().await;
    let installation = on_postgres(&server);
    let (mut gateway, _) = installation.gateway(&redis.url()).await;
    let key = installation.make_key();
    let (keys, audit) = (installation.admin("keys list"), installation.admin("audit"));
    let backup = installation.backup(&[]);
    let later = installation.make_key();

    installation.restore(&backup, &["--replace"]).refused(IN_USE, "stop all gateways first");
    gateway.kill();
    drop(gateway);
    installation.restore(&backup, &[]).refused(THERE, "With --replace they are moved aside");

    // Lost.
    sql(&server, "DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    installation.restore(&backup, &[]).worked();
    assert_eq!((installation.admin("keys list"), installation.admin("audit")), (keys.clone(), audit));
    let (gateway, address) = installation.gateway(&redis.url()).await;
    assert_eq!(opens(&key, &address).await, StatusCode::OK);
    assert_eq!(opens(&later, &address).await, StatusCode::UNAUTHORIZED, "it is younger than the backup");
    drop(gateway);

    // What is there is moved aside, and the next backup has nothing of it.
    let later = installation.make_key();
    let said = installation.restore(&backup, &["--replace"]);
    said.worked();
    assert_eq!(installation.admin("keys list"), keys);
    let aside = sql(&server, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'before%'");
    assert!(said.out.contains(&aside), "{said:#?}");
    assert_eq!(sql(&server, &format!("SELECT count(*) FROM {aside}.api_keys")), "2");
    let next = installation.backup(&[]);
    sql(&server, &format!("DROP SCHEMA public CASCADE; DROP SCHEMA {aside} CASCADE; CREATE SCHEMA public"));
    installation.restore(&next, &[]).worked();
    assert_eq!(sql(&server, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'before%'"), "0");
    assert_eq!(installation.admin("keys list"), keys);
    assert!(!installation.admin("keys list").to_string().contains(&later));

    // A dump that cannot be restored leaves what was there.
    let dump = next.join("subtide.dump");
    let mut bytes = fs::read(&dump).unwrap();
    let half = bytes.len() / 2;
    bytes.truncate(half);
    fs::write(&dump, bytes).unwrap();
    let sums = "find . -type f ! -path ./SHA256SUMS -print0 | xargs -0 sha256sum > SHA256SUMS";
    assert!(Command::new("sh").args(["-c", sums]).current_dir(&next).status().unwrap().success());
    installation.restore(&next, &["--replace"]).refused(70, "the database is as it was");
    assert_eq!(installation.admin("keys list"), keys);
}
