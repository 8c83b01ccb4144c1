//! What a backup is, what becomes of old ones, and what is refused.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use redis::cmd;
use tests::redis_server::{APPEND_ONLY, RedisServer};

use super::{ABSENT, Command, DAMAGED, Installation, THERE, backups_in, files, have, queues};

/// A database with a key, Redis with something in it, and a backup of both; Redis has stopped.
async fn installation() -> (Installation, PathBuf, PathBuf, RedisServer) {
    let mut redis = RedisServer::spawn_with(APPEND_ONLY).await;
    let data = queues::directory(&redis).await;
    let installation = Installation::on_sqlite().with_redis(&data);
    installation.make_key();
    let mut connection = queues::connect(&redis).await;
    for n in 0..100 {
        cmd("XADD").arg(&["stream", "*", "n", &n.to_string()]).exec_async(&mut connection).await.unwrap();
    }
    queues::written(&mut connection).await;
    let backup = installation.backup(&[]);
    redis.kill();
    (installation, backup, data, redis)
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

/// Flips one bit in the middle of a file.
fn damage(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_is_refused_and_nothing_is_touched() {
    if !have(&["sqlite3", "redis-check-aof"]) {
        return;
    }
    let (installation, backup, data, _redis) = installation().await;
    installation.restore(&backup, &["--check"]).worked();
    let (state, log) = (installation.state(), files(&data));
    let names: Vec<String> = files(&backup).into_iter().map(|(name, _)| name).collect();
    assert!(names.len() >= 7, "{names:?}");
    let mut broken = Vec::new();
    let mut with = |what: String, change: &dyn Fn(&Path)| {
        let place = installation.backups.path().join(format!("broken-{}", broken.len()));
        copy(&backup, &place);
        change(&place);
        broken.push((what, place));
    };
    for name in &names {
        with(format!("a bit of {name}"), &|place| damage(&place.join(name)));
        with(format!("{name} is missing"), &|place| fs::remove_file(place.join(name)).unwrap());
        with(format!("{name} is empty"), &|place| drop(File::create(place.join(name)).unwrap()));
    }
    with("one more file".to_owned(), &|place| fs::write(place.join("appendonlydir/x.aof"), "x").unwrap());
    with("a link".to_owned(), &|place| std::os::unix::fs::symlink("/etc/passwd", place.join("link")).unwrap());
    with("a line less".to_owned(), &|place| {
        let sums = fs::read_to_string(place.join("SHA256SUMS")).unwrap();
        fs::write(place.join("SHA256SUMS"), sums.lines().skip(1).map(|line| format!("{line}\n")).collect::<String>())
            .unwrap();
    });
    for (what, place) in &broken {
        let said = installation.restore(place, &["--replace"]);
        assert_eq!(said.code, DAMAGED, "{what}: {said:#?}");
    }
    assert_eq!((installation.state(), files(&data)), (state, log));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_moved_aside_and_only_when_asked() {
    if !have(&["sqlite3", "redis-check-aof"]) {
        return;
    }
    let (installation, backup, data, mut redis) = installation().await;
    let keys = installation.admin("keys list");
    installation.admin("keys create --label later --scopes stream");
    let (state, log) = (installation.state(), files(&data));
    // Redis' files are there: then the database is not touched either.
    installation.restore(&backup, &[]).refused(THERE, "With --replace it is moved aside");
    installation.restore(&backup, &["--only", "redis"]).refused(THERE, "appendonlydir");
    assert_eq!((installation.state(), files(&data)), (state.clone(), log));

    let said = installation.restore(&backup, &["--replace"]);
    said.worked();
    assert!(said.out.contains("moved aside: ") && said.out.contains("appendonlydir.before-"), "{said:#?}");
    assert_eq!(installation.admin("keys list"), keys);
    let now = installation.state();
    let aside = now.iter().find(|(name, _)| name.starts_with("subtide.db.before-") && name.ends_with('Z'));
    let was = state.iter().find(|(name, _)| name == "subtide.db").unwrap();
    assert_eq!(aside.unwrap().1, was.1, "what was there is kept");
    for (name, _) in now.iter().filter(|(name, _)| !name.contains(".before-")) {
        let mode = fs::metadata(installation.state.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name} is for others to read: {mode:o}");
    }
    redis.restart().await;
    let mut connection = queues::connect(&redis).await;
    let length: usize = cmd("XLEN").arg("stream").query_async(&mut connection).await.unwrap();
    assert_eq!(length, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_are_private_whole_and_as_many_as_wanted() {
    if !have(&["sqlite3"]) {
        return;
    }
    let installation = Installation::on_sqlite();
    installation.make_key();
    let folder = installation.backups.path();
    // Of somebody else, or half made: the first stays, the second does not.
    let others = ["subtide-notes", "subtide-2020-01-01T000000Z.txt", "photographs"];
    for name in others {
        fs::create_dir(folder.join(name)).unwrap();
    }
    fs::create_dir(folder.join(".subtide-2020-01-01T000000Z.partial")).unwrap();
    // Of Redis alone: counted apart, or those of every hour would drive out those of every night.
    let redis = folder.join("subtide-2020-01-01T000001Z");
    fs::create_dir(&redis).unwrap();
    fs::write(redis.join("ABOUT"), "redis=aof\n").unwrap();
    fs::write(redis.join("SHA256SUMS"), "").unwrap();
    let made: Vec<_> = (0..4).map(|_| installation.backup(&["--only", "database", "--keep", "2"])).collect();
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut wanted: Vec<_> =
        made[2..].iter().map(name).chain(others.map(str::to_owned)).chain([name(&redis)]).collect();
    wanted.sort();
    assert_eq!(backups_in(folder), wanted);
    for (file, _) in files(&made[3]) {
        let mode = fs::metadata(made[3].join(&file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    assert_eq!(fs::metadata(&made[3]).unwrap().permissions().mode() & 0o777, 0o700);
    let about = fs::read_to_string(made[3].join("ABOUT")).unwrap();
    assert!(about.contains("\napi_keys=1\n"), "{about}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_backed_up_is_said_and_leaves_nothing() {
    if !have(&["sqlite3", "redis-check-aof"]) {
        return;
    }
    let redis = RedisServer::spawn_with(APPEND_ONLY).await;
    let data = queues::directory(&redis).await;
    let installation = Installation::on_sqlite().with_redis(&data);
    let folder = installation.backups.path().display().to_string();
    let backup = |more: &[&str]| installation.run("backup.sh", &[more, &[folder.as_str()]].concat());
    backup(&[]).refused(ABSENT, "there is no database at");
    let database = installation.state.path().join("subtide.db");
    let made = Command::new("sqlite3").arg(&database).arg("CREATE TABLE notes (text)").status().unwrap();
    assert!(made.success());
    backup(&["--only", "database"]).refused(DAMAGED, "it is no database of Subtide");
    fs::remove_file(&database).unwrap();
    installation.make_key();
    let empty = tempfile::tempdir().unwrap();
    backup(&["--redis", empty.path().to_str().unwrap()]).refused(ABSENT, "is `appendonly yes` set");
    backup(&["--keep", "all"]).refused(64, "--keep wants a number");

    // Redis' file is damaged before its end: a copy would bring back less than is there, and nobody would know.
    let mut connection = queues::connect(&redis).await;
    for _ in 0..40 {
        cmd("SET").arg("key").arg("x".repeat(100_000)).exec_async(&mut connection).await.unwrap();
    }
    queues::written(&mut connection).await;
    let log = data.join("appendonlydir/appendonly.aof.1.incr.aof");
    let mut bytes = fs::read(&log).unwrap();
    bytes[300_000..300_100].fill(b'\n');
    let start = bytes.windows(4).position(|four| four == b"*3\r\n").unwrap();
    bytes[start] = b'?';
    fs::write(&log, bytes).unwrap();
    backup(&[]).refused(DAMAGED, "append-only file is damaged");
    assert_eq!(backups_in(installation.backups.path()), Vec::<String>::new());

    // Half a command at its end is what a copy in the middle of a write has: that is cut off, and told.
    let redis = RedisServer::spawn_with(APPEND_ONLY).await;
    let mut connection = queues::connect(&redis).await;
    cmd("SET").arg("key").arg("value").exec_async(&mut connection).await.unwrap();
    queues::written(&mut connection).await;
    let data = queues::directory(&redis).await;
    let log = data.join("appendonlydir/appendonly.aof.1.incr.aof");
    File::options().append(true).open(&log).unwrap().write_all(b"*3\r\n$3\r\nSET\r\n$3\r\nke").unwrap();
    let made = installation.backup(&["--redis", data.to_str().unwrap(), "--only", "redis"]);
    assert!(fs::read_to_string(made.join("ABOUT")).unwrap().contains("redis_cut_bytes=19\n"));
}
