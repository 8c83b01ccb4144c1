#!/usr/bin/env bash
# Makes a backup of an installation while it runs:
#
#   backup.sh [options] FOLDER
#
# FOLDER gets one folder more, subtide-YYYY-MM-DDTHHMMSSZ, with
#   subtide.db or subtide.dump   people, keys, usage, audit, final texts if they are kept (SQLite; PostgreSQL)
#   auth-secret                  what opens the signing keys, where it lies beside the database or compose's `keys` made it
#   appendonlydir/               Redis: what is being said at this moment
#   ABOUT, SHA256SUMS            what it is of; what restore.sh checks
# It appears under that name only when all of it is written, synced, and checked. Everything in it is private: keep FOLDER on
# another disk, encrypted, and as safe as the database itself.
#
#   --compose DIR      the parts are containers of the compose project in DIR (that of compose.yml); otherwise they are here:
#   --sqlite FILE      the database (/var/lib/subtide/subtide.db)
#   --postgres FILE    people are in PostgreSQL: FILE holds the address, as DATABASE_URL has it
#   --redis DIR        Redis' directory, with appendonlydir in it (/var/lib/redis)
#   --only PART        database or redis alone; on a host without the other
#   --keep N           afterwards delete all backups in FOLDER that have the same parts, but the newest N (14; 0: none is deleted)
#
# Needs sqlite3 or PostgreSQL's clients, redis-check-aof, and what coreutils and util-linux bring. How to bring it back:
# restore.sh; a drill of both: tests/tests/backup.rs; when to do it: docs/OPERATIONS.md.
# shellcheck source-path=SCRIPTDIR source=places.sh
. "$(dirname "$(realpath "$0")")/places.sh"

# More than a copy taken in the middle of a write can have torn, in bytes: what is behind it is damaged in Redis itself.
readonly TORN=1048576
# Each time Redis may have begun to rewrite its file, a second apart.
readonly TRIES=30

keep=14
folder=
while (($#)); do
    if place_option "$@"; then
        shift "$taken"
        continue
    fi
    case $1 in
        --keep)
            [[ ${2:-} =~ ^[0-9]{1,6}$ ]] || fail 64 "--keep wants a number"
            keep=$((10#$2))
            shift
            ;;
        -h | --help)
            sed -n '2,/^# shellcheck/{/^# shellcheck/d;s/^# \{0,1\}//p}' "$0"
            exit 0
            ;;
        -*) fail 64 "there is no option $1; see --help" ;;
        *)
            [[ -z $folder ]] || fail 64 "one folder, please: $folder or $1?"
            folder=$1
            ;;
    esac
    shift
done
[[ -n $folder ]] || fail 64 "where to? $program FOLDER; see --help"

# Read without stopping anybody: .backup sees one moment, and begins again when somebody writes meanwhile.
copy_sqlite() { # FROM
    local tried
    for tried in 1 2 3 4 5; do
        rm -f "$new/subtide.db"
        (cd "$new" && sqlite "$1" '.timeout 10000' '.backup subtide.db' >&2) && return
        warn "the database could not be copied (try $tried of 5)"
        sleep 1
    done
    fail 70 "the database $1 could not be copied; what SQLite says is above"
}

copy_secret() { # FROM
    if [[ -f $1 ]]; then
        cp "$1" "$new/auth-secret"
    else
        warn "there is no auth-secret beside the database: AUTH_SECRET is yours to keep. Without it everybody has to sign in again"
    fi
}

paused=
go_on() {
    [[ -z $paused ]] || docker unpause "$paused" >/dev/null || warn "the gateway is still paused: docker unpause $paused"
    paused=
}

# In a container without sqlite3: stopped for the moment in which its files are read, and then it is as after a crash, which
# SQLite is made for.
backup_sqlite_container() {
    local id raw=$new/raw got=yes
    id=$(container gateway)
    mkdir "$raw"
    if runs "$id"; then
        paused=$id
        docker pause "$id" >/dev/null || fail 70 "the gateway cannot be paused"
    fi
    docker cp "$id:$STATE/." - 2>/dev/null | tar -x -C "$raw" --no-same-owner --no-same-permissions --exclude='*-shm' -f - || got=no
    go_on
    [[ $got == yes && -f $raw/subtide.db ]] || fail 69 "there is no subtide.db at $STATE in the gateway: is DATABASE_URL set? Then --postgres"
    copy_sqlite "$raw/subtide.db"
    copy_secret "$raw/auth-secret"
    rm -r "$raw"
}

backup_sqlite() {
    if [[ -n $compose_dir ]]; then
        backup_sqlite_container
    else
        [[ -f $sqlite_file ]] || fail 69 "there is no database at $sqlite_file: name it with --sqlite, or --postgres, or --only redis"
        copy_sqlite "$(realpath "$sqlite_file")"
        copy_secret "$(dirname "$sqlite_file")/auth-secret"
    fi
    check_sqlite "$new/subtide.db"
    say "database=sqlite" >>"$new/ABOUT"
    sqlite "$new/subtide.db" "SELECT 'people='||count(*) FROM people; SELECT 'api_keys='||count(*) FROM api_keys" >>"$new/ABOUT"
}

backup_postgres() {
    [[ -z $postgres_file ]] || postgres_environment
    postgres pg_dump --format=custom --exclude-schema='before_*' >"$new/subtide.dump" || fail 69 "pg_dump did not finish; what it says is above"
    # Reads, and unpacks, every row.
    postgres pg_restore --file=/dev/null <"$new/subtide.dump" || fail 70 "the dump cannot be read back"
    postgres pg_restore --list <"$new/subtide.dump" | grep -q 'TABLE DATA public api_keys ' || fail 65 "the database has no api_keys: it is not Subtide's"
    say "database=postgres" >>"$new/ABOUT"
    if own_secret; then
        local ids
        ids=$(containers gateway) || exit
        docker cp "${ids%%$'\n'*}:$STATE/auth-secret" - | tar -xO -f - >"$new/auth-secret" || fail 69 "auth-secret could not be read from the gateway: see above"
    else
        warn "AUTH_SECRET is not in the dump and is yours to keep, elsewhere. Without it everybody has to sign in again"
    fi
}

redis_file() { # NAME
    if [[ -n $compose_dir ]]; then docker exec "$redis" cat "$DATA/$AOF/$1"; else cat "$redis_dir/$AOF/$1"; fi
}

redis_files() { # FOLDER with the manifest
    local name
    while read -r _ name _; do
        redis_file "$name" >"$1/$name" || return
    done <"$1/$MANIFEST"
}

# Redis only appends to its files, and removes none before another manifest is in place: when that is the same before and after,
# the copies are those of one moment. Nothing is asked of Redis itself.
backup_redis() {
    local tried target=$new/$AOF
    redis=
    [[ -z $compose_dir ]] || redis=$(container redis)
    [[ -z $redis ]] || runs "$redis" || fail 69 "Redis is not running: docker compose start redis"
    redis_file "$MANIFEST" >/dev/null 2>&1 ||
        fail 69 "there is no $AOF/$MANIFEST in ${redis:+the container, }${redis_dir}: is \`appendonly yes\` set, and is that Redis' directory (--redis DIR)? Without Redis here: --only database"
    for ((tried = 1; tried <= TRIES; tried++)); do
        rm -rf "$target" && mkdir "$target"
        if redis_file "$MANIFEST" >"$target/$MANIFEST" && ! grep -qv '^file [A-Za-z0-9._-]* seq [0-9]* type [bi]' "$target/$MANIFEST" &&
            redis_files "$target" && redis_file "$MANIFEST" | cmp -s - "$target/$MANIFEST"; then
            check_redis "$target"
            return
        fi
        sleep 1
    done
    fail 75 "Redis was rewriting its append-only file each of $TRIES times: once more, later"
}

# The last command may be half there: that end is cut off, as Redis itself would at its next start.
check_redis() { # FOLDER
    local before after
    before=$(bytes "$1")
    if ! check_aof "$1"; then
        check_aof "$1" --fix || true
        check_aof "$1" || { tail -3 "$1.said" >&2; fail 65 "Redis' append-only file is damaged: see above"; }
    fi
    rm -f "$1.said"
    after=$(bytes "$1")
    ((before - after <= TORN)) || fail 65 "Redis' append-only file is damaged, $((before - after)) bytes before its end"
    printf 'redis=aof\nredis_bytes=%s\nredis_cut_bytes=%s\n' "$after" "$((before - after))" >>"$new/ABOUT"
}

parts() { sed -n 's/^\(database\|redis\)=.*/\1/p' "$1/ABOUT" 2>/dev/null; } # BACKUP

# All but the newest of those with the same parts. Nothing that has another name is touched.
forget() {
    local mine
    ((keep > 0)) || return 0
    mine=$(parts "$folder/$name")
    find "$folder" -mindepth 1 -maxdepth 1 -type d -printf '%f\n' | grep -E "$NAME" | sort -r |
        while read -r name; do if [[ $(parts "$folder/$name") == "$mine" ]]; then say "$name"; fi; done | tail -n "+$((keep + 1))" |
        while read -r name; do
            [[ -f $folder/$name/SHA256SUMS ]] || continue
            rm -r "${folder:?}/$name"
            say "deleted $folder/$name: --keep $keep"
        done
}

mkdir -p "$folder"
folder=$(realpath "$folder")
exec 9>"$folder/.lock"
flock -n 9 || fail 75 "another backup is being made in $folder"
find "$folder" -mindepth 1 -maxdepth 1 -type d -name '.subtide-*.partial' -exec rm -r {} +
while name=subtide-$(date -u +%Y-%m-%dT%H%M%SZ) && [[ -e $folder/$name ]]; do sleep 0.2; done
new=$folder/.$name.partial
mkdir "$new"
trap 'go_on; rm -rf "$new"' EXIT

printf 'made=%s\n' "${name#subtide-}" >"$new/ABOUT"
if wants database; then if on_postgres; then backup_postgres; else backup_sqlite; fi; fi
if wants redis; then backup_redis; fi
find "$new" -type f -exec chmod 0600 {} +
(cd "$new" && find . -type f ! -path ./SHA256SUMS -print0 | sort -z | xargs -0 sha256sum >SHA256SUMS)
sync -f "$new"
check_sums "$new"
mv "$new" "$folder/$name"
trap - EXIT
sync -f "$folder"
say "$folder/$name"
sed 's/^/  /' "$folder/$name/ABOUT"
forget
