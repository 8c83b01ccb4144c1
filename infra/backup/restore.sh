#!/usr/bin/env bash
# Brings back what backup.sh made:
#
#   restore.sh [options] FOLDER/subtide-YYYY-MM-DDTHHMMSSZ
#
# First it checks all of the backup, then that nobody uses what it is about to write and that nothing is there: until then nothing
# is changed. Stop the gateway before, for Redis stop Redis (PostgreSQL goes on); start them afterwards.
#
#   --replace          what is there is moved aside (NAME.before-…; in PostgreSQL to a schema before_…) and told; never deleted
#   --only PART        database or redis alone. A database from last night without its Redis is the usual case
#   --compose DIR      the parts are containers of the compose project in DIR; otherwise they are here:
#   --sqlite FILE      the database (/var/lib/subtide/subtide.db); auth-secret goes beside it
#   --postgres FILE    FILE holds the address of the database, as DATABASE_URL has it
#   --redis DIR        Redis' directory (/var/lib/redis)
#   --check            only says whether the backup is whole
# shellcheck source-path=SCRIPTDIR source=places.sh
. "$(dirname "$(realpath "$0")")/places.sh"

replace=no
check_only=no
backup=
while (($#)); do
    if place_option "$@"; then
        shift "$taken"
        continue
    fi
    case $1 in
        --replace) replace=yes ;;
        --check) check_only=yes ;;
        -h | --help)
            sed -n '2,/^# shellcheck/{/^# shellcheck/d;s/^# \{0,1\}//p}' "$0"
            exit 0
            ;;
        -*) fail 64 "there is no option $1; see --help" ;;
        *)
            [[ -z $backup ]] || fail 64 "one backup, please: $backup or $1?"
            backup=$1
            ;;
    esac
    shift
done
[[ -n $backup ]] || fail 64 "which one? $program FOLDER/subtide-…; see --help"
[[ -d $backup ]] || fail 64 "there is no $backup"
backup=$(realpath "$backup")
stamp=$(date -u +%Y-%m-%dT%H%M%SZ)

# Looks, or places: runs here, or with sh in a container beside the stopped one. Its input is a tar of the new files.
# shellcheck disable=SC2016 # of the other shell
readonly PLACE='set -eu; umask 077
verb=$1 replace=$2 stamp=$3; cd "$4"; shift 4
there=
for name; do [ ! -e "$name" ] || there="$there $name"; done
if [ -n "$there" ] && [ "$replace" = no ]; then
    echo "in $PWD there is already:$there. With --replace it is moved aside" >&2
    exit 73
fi
[ "$verb" = place ] || { [ -w . ] || { echo "$PWD cannot be written to" >&2; exit 73; }; exit 0; }
mkdir ".restoring-$stamp"
tar -x -C ".restoring-$stamp" -f -
if [ "$(id -u)" = 0 ]; then chown -R --reference=. ".restoring-$stamp"; fi
for name in $there; do
    # The log of an SQLite database bears its name.
    case $name in *-wal | *-shm) aside=${name%-*}.before-$stamp-${name##*-} ;; *) aside=$name.before-$stamp ;; esac
    mv "$name" "$aside"
    echo "moved aside: $PWD/$aside"
done
for name; do [ ! -e ".restoring-$stamp/$name" ] || mv ".restoring-$stamp/$name" "$name"; done
rmdir ".restoring-$stamp"'

place() { # look|place SERVICE DIRECTORY NAMES...
    local verb=$1 service=$2 directory=$3 ids id
    shift 3
    if [[ -n $compose_dir ]]; then
        # Several gateways share one volume.
        ids=$(containers "$service") || exit
        [[ -n $ids ]] || fail 69 "there is no container of $service in $compose_dir: make it with \`docker compose up --no-start $service\`"
        for id in $ids; do ! runs "$id" || fail 75 "$service is running: docker compose stop $service"; done
        if [[ $service == redis ]]; then directory=$DATA; else directory=$STATE; fi
        beside "$id" sh -c "$PLACE" place "$verb" "$replace" "$stamp" "$directory" "$@"
    else
        [[ -d $directory ]] || fail 69 "there is no $directory: make it, as who runs $service"
        sh -c "$PLACE" place "$verb" "$replace" "$stamp" "$directory" "$@"
    fi
}

# Who has a file open, or works in a directory: their numbers.
users() { # PATH
    [[ -e $1 ]] || return 0
    { find -L /proc/[0-9]*/fd -maxdepth 1 -samefile "$1" || true; find -L /proc/[0-9]*/cwd -maxdepth 0 -samefile "$1" || true; } 2>/dev/null |
        cut -d/ -f3 | sort -u | sed "/^$$\$/d" | xargs
}

free() { # PATH WHAT
    local who
    [[ -z $compose_dir ]] || return 0
    who=$(users "$1")
    [[ -z $who ]] || fail 75 "$1 is in use by process $who: stop $2 first"
}

packed() { tar -C "$backup" --owner=0 --group=0 -cf - "$@"; }

sqlite_names=(subtide.db subtide.db-wal subtide.db-shm)
look_sqlite() {
    [[ $sqlite_file == */* ]] || sqlite_file=./$sqlite_file
    [[ ${sqlite_file##*/} == subtide.db || -n $compose_dir ]] || fail 64 "--sqlite $sqlite_file: it has to be called subtide.db; rename it afterwards"
    ! on_postgres || fail 64 "the backup is of SQLite, and the gateway's people are in PostgreSQL: unset DATABASE_URL, or take another backup"
    [[ ! -e $backup/auth-secret ]] || sqlite_names+=(auth-secret)
    free "$sqlite_file" "the gateway"
    place look gateway "${sqlite_file%/*}" "${sqlite_names[@]}" </dev/null || exit
}

restore_sqlite() {
    local files=(subtide.db)
    [[ ! -e $backup/auth-secret ]] || files+=(auth-secret)
    packed "${files[@]}" | place place gateway "${sqlite_file%/*}" "${sqlite_names[@]}" || fail 70 "the database is not restored: see above"
    say "restored: the database, of $(sed -n 's/^made=//p' "$backup/ABOUT")"
}

query() { postgres psql --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 --command "$1"; }

look_postgres() {
    local others tables
    on_postgres || fail 64 "the backup is of PostgreSQL: say where with --postgres FILE"
    [[ -z $postgres_file ]] || postgres_environment
    others=$(query "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND datname = current_database() AND pid <> pg_backend_pid()") || fail 69 "PostgreSQL does not answer: see above"
    [[ $others == 0 ]] || fail 75 "others are connected to the database ($others): stop all gateways first"
    tables=$(query "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
    [[ $tables == 0 || $replace == yes ]] || fail 73 "the database has $tables tables already. With --replace they are moved aside, into a schema of their own"
    tables_there=$tables
    [[ ! -e $backup/auth-secret ]] || ! own_secret || place look gateway "$STATE" auth-secret </dev/null || exit
}

restore_postgres() {
    local aside
    aside=before_$(tr -d 'TZ-' <<<"$stamp")
    if [[ $tables_there != 0 ]]; then
        query "BEGIN; ALTER SCHEMA public RENAME TO $aside; CREATE SCHEMA public; COMMIT" || fail 70 "what is there cannot be moved aside; nothing is changed"
        say "moved aside: the schema $aside (when all is well: DROP SCHEMA $aside CASCADE)"
    fi
    if ! postgres pg_restore --exit-on-error --single-transaction --no-owner --no-privileges --dbname="${PGDATABASE:-}" <"$backup/subtide.dump"; then
        [[ $tables_there == 0 ]] || query "BEGIN; DROP SCHEMA public CASCADE; ALTER SCHEMA $aside RENAME TO public; COMMIT"
        fail 70 "the dump cannot be restored; the database is as it was"
    fi
    if [[ -e $backup/auth-secret ]]; then
        if own_secret; then
            packed auth-secret | place place gateway "$STATE" auth-secret || fail 70 "the database is restored, and auth-secret is not: see above"
        else
            warn "the backup has an auth-secret, and here the secret is yours: give it to all gateways as AUTH_SECRET"
        fi
    fi
    say "restored: the database, of $(sed -n 's/^made=//p' "$backup/ABOUT")"
}

look_redis() {
    free "$redis_dir" Redis
    place look redis "$redis_dir" "$AOF" </dev/null || exit
}

restore_redis() {
    packed "$AOF" | place place redis "$redis_dir" "$AOF" || fail 70 "Redis is not restored: see above"
    say "restored: Redis, of $(sed -n 's/^made=//p' "$backup/ABOUT")"
}

check_sums "$backup"
parts=()
if wants database; then
    [[ ! -e $backup/subtide.db ]] || parts+=(sqlite)
    [[ ! -e $backup/subtide.dump ]] || parts+=(postgres)
fi
if wants redis && [[ -e $backup/$AOF ]]; then parts+=(redis); fi
((${#parts[@]})) || fail 65 "$backup has nothing of ${only:-anything}"
if [[ $check_only == yes ]]; then
    say "whole: $backup (${parts[*]})"
    exit 0
fi
for part in "${parts[@]}"; do "look_$part"; done
for part in "${parts[@]}"; do "restore_$part"; done
