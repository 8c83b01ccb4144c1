# shellcheck shell=bash disable=SC2034 # used by who reads this file
# Where the parts of an installation lie, and how each is reached; backup.sh and restore.sh read this file. What both say and
# the codes they end with are here, too (sysexits.h): 64 the command line, 65 the data, 69 a program or a container that is not
# there, 70 it went wrong on the way, 73 something is there already, 75 somebody is using it.
set -Eeuo pipefail
# Nobody but who runs this reads what it writes.
umask 077
export LC_ALL=C

compose_dir=
sqlite_file=/var/lib/subtide/subtide.db
postgres_file=
redis_dir=/var/lib/redis
only=
program=${0##*/}
# In containers.
readonly STATE=/var/lib/subtide DATA=/data
# The name of a backup: subtide-2026-11-21T031500Z
readonly NAME='^subtide-[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{6}Z$'
readonly AOF=appendonlydir MANIFEST=appendonly.aof.manifest

say() { printf '%s\n' "$*"; }
warn() { printf '%s: %s\n' "$program" "$*" >&2; }
fail() { # CODE TEXT
    local code=$1
    shift
    warn "$*"
    exit "$code"
}

trap 'warn "stopped, which was not expected, at line $LINENO of ${BASH_SOURCE[0]}"' ERR

# The bytes of all files in a folder.
bytes() { find "$1" -type f -printf '%s\n' | awk '{ sum += $1 } END { print sum + 0 }'; }

# Options that both have. True when $1 was one; `taken` says of how many words.
place_option() {
    taken=2
    case $1 in
        --compose | --sqlite | --postgres | --redis | --only) [[ -n ${2:-} ]] || fail 64 "$1 wants a word behind it; see --help" ;;
    esac
    case $1 in
        --compose) compose_dir=$2 ;;
        --sqlite) sqlite_file=$2 ;;
        --postgres) postgres_file=$2 ;;
        --redis) redis_dir=$2 ;;
        --only)
            [[ $2 == database || $2 == redis ]] || fail 64 "--only $2: write database or redis"
            only=$2
            ;;
        *) return 1 ;;
    esac
}

wants() { [[ -z $only || $only == "$1" ]]; }

tool() { # PROGRAM PACKAGE
    command -v "$1" >/dev/null || fail 69 "$1 is not on the PATH (Debian: apt-get install $2)"
}

# --- Containers -------------------------------------------------------------------------------------------------------------

compose() {
    cd "$compose_dir" || fail 64 "--compose $compose_dir: no such directory"
    if docker compose version >/dev/null 2>&1; then docker compose "$@"; else docker-compose "$@"; fi
}

# The containers of a service, running or not. Found by their labels: compose itself does not know a service whose profile it was not
# told (postgres).
containers() { # SERVICE
    local any project
    tool docker docker.io
    any=$(compose ps -aq gateway </dev/null) || fail 69 "docker compose ps does not work in $compose_dir"
    [[ -n $any ]] || fail 69 "there is no container of gateway in $compose_dir: make it with \`docker compose up --no-start\`"
    project=$(docker inspect --format '{{index .Config.Labels "com.docker.compose.project"}}' "${any%%$'\n'*}")
    docker ps --all --quiet --no-trunc --filter "label=com.docker.compose.project=$project" --filter "label=com.docker.compose.service=$1" \
        --filter label=com.docker.compose.oneoff=False
}

# The one that there may be.
container() { # SERVICE
    local ids
    ids=$(containers "$1") || exit
    [[ -n $ids ]] || fail 69 "there is no container of $1 in $compose_dir: make it with \`docker compose up --no-start $1\`"
    [[ $(wc -l <<<"$ids") == 1 ]] || fail 69 "there are several containers of $1: only one may use a volume"
    say "$ids"
}

# A setting of the gateway's container.
setting() { # KEY
    local ids
    ids=$(containers gateway) || exit
    docker inspect --format '{{range .Config.Env}}{{println .}}{{end}}' "${ids%%$'\n'*}" | sed -n "s/^$1=//p"
}

# Whether the secret of the gateways lies where `keys` made it, and is not one that the operator gave them.
own_secret() {
    [[ -n $compose_dir && -z $(setting AUTH_SECRET) && $(setting AUTH_SECRET_FILE) == "$STATE/auth-secret" ]]
}

runs() { [[ $(docker inspect --format '{{.State.Running}}' "$1") == true ]]; }
image() { docker inspect --format '{{.Image}}' "$1"; }
uid() { docker inspect --format '{{.Config.User}}' "$1"; }

# A program in a container of its own that sees nothing but the volumes of another.
beside() { # CONTAINER COMMAND...
    local id=$1
    shift
    docker run --rm --interactive --network none --read-only --cap-drop ALL --security-opt no-new-privileges \
        --volumes-from "$id" --user "$(uid "$id")" --entrypoint '' "$(image "$id")" "$@"
}

# --- Programs ---------------------------------------------------------------------------------------------------------------

sqlite() { # FILE COMMAND...
    tool sqlite3 sqlite3
    sqlite3 -batch -bail "$@"
}

# The address in --postgres FILE, taken apart for libpq: a password does not stand in an argument.
postgres_environment() {
    local address rest host
    [[ -r $postgres_file ]] || fail 64 "--postgres $postgres_file cannot be read: it holds the address, as DATABASE_URL has it"
    address=$(<"$postgres_file")
    [[ $address =~ ^postgres(ql)?://(([^:@/]*)(:([^@/]*))?@)?([^/?]*)/([^?]*)(\?(.*))?$ ]] ||
        fail 64 "--postgres $postgres_file does not hold postgres://USER:PASSWORD@HOST/NAME"
    host=${BASH_REMATCH[6]}
    [[ $host != *,* && $host != \[* ]] || fail 64 "--postgres: an address with one name or IPv4 address is wanted"
    PGUSER=$(unescaped "${BASH_REMATCH[3]}") PGPASSWORD=$(unescaped "${BASH_REMATCH[5]}")
    PGDATABASE=$(unescaped "${BASH_REMATCH[7]}") rest=${BASH_REMATCH[9]}
    PGHOST=${host%%:*} PGPORT=5432
    [[ $host != *:* ]] || PGPORT=${host##*:}
    export PGUSER PGPASSWORD PGDATABASE PGHOST PGPORT
    if [[ $rest =~ (^|&)sslmode=([a-z-]+) ]]; then export PGSSLMODE=${BASH_REMATCH[2]}; fi
    if [[ $rest =~ (^|&)sslrootcert=([^&]+) ]]; then
        PGSSLROOTCERT=$(unescaped "${BASH_REMATCH[2]}")
        export PGSSLROOTCERT
    fi
}

unescaped() { printf '%b' "${1//%/\\x}"; }

# pg_dump, pg_restore and psql, here or where compose has the database.
postgres() { # PROGRAM ARGUMENTS...
    if [[ -n $compose_dir && -z $postgres_file ]]; then
        # shellcheck disable=SC2016 # of the container
        docker exec --interactive "$(container postgres)" sh -c \
            'export PGUSER="${POSTGRES_USER:-postgres}"; export PGDATABASE="${POSTGRES_DB:-$PGUSER}"; exec "$@"' - "$@"
    else
        tool "$1" postgresql-client
        "$@"
    fi
}

# Whether people are in PostgreSQL rather than in a file: where the gateway itself looks.
on_postgres() {
    local address
    [[ -z $postgres_file ]] || return 0
    [[ -n $compose_dir ]] || return 1
    address=$(setting DATABASE_URL) || exit
    [[ $address != sqlite:* ]] || return 1
    [[ -n $address || -n $(setting DATABASE_URL_FILE) ]] || return 1
    [[ -n $(containers postgres) ]] || fail 64 "the gateway uses a PostgreSQL that is none of these containers: --postgres FILE says where it is"
}

# Every file of the append-only log in FOLDER is whole; what the program says goes to FOLDER's sibling .said.
check_aof() { # FOLDER [--fix]
    local fix=${2:-} code=0 id
    if [[ -n $compose_dir ]]; then
        id=$(container redis) || exit
        # As who made the folder: only he can read it.
        { yes 2>/dev/null || true; } | docker run --rm --interactive --network none --read-only --cap-drop ALL --user "$(id -u):$(id -g)" \
            --volume "$(realpath "$1"):/aof" --entrypoint '' "$(image "$id")" redis-check-aof ${fix:+"$fix"} "/aof/$MANIFEST" >"$1.said" 2>&1 || code=$?
    else
        tool redis-check-aof redis-tools
        # `yes` ends by SIGPIPE, which is no failure.
        { yes 2>/dev/null || true; } | redis-check-aof ${fix:+"$fix"} "$1/$MANIFEST" >"$1.said" 2>&1 || code=$?
    fi
    # Docker's own failures, a program that is not there, a signal: that says nothing about the file.
    ((code < 125)) || { tail -3 "$1.said" >&2; fail 69 "redis-check-aof could not be run (exit code $code): see above"; }
    return "$code"
}

# --- A backup ---------------------------------------------------------------------------------------------------------------

# Every file is there, none is new, each is as it was written.
check_sums() { # FOLDER
    local listed found
    [[ -f $1/SHA256SUMS ]] || fail 65 "$1 has no SHA256SUMS: it is no backup, or not a whole one"
    (cd "$1" && sha256sum --check --strict --quiet SHA256SUMS >&2) || fail 65 "$1 is damaged: see above. Take another backup"
    listed=$(cut -c67- "$1/SHA256SUMS" | sort)
    found=$(cd "$1" && find . ! -type d ! -path ./SHA256SUMS | sort)
    [[ $listed == "$found" ]] || fail 65 "$1 has other files than SHA256SUMS says: $(comm -3 <(say "$listed") <(say "$found") | xargs)"
}

# The database is whole, and one of ours.
check_sqlite() { # FILE
    local said
    said=$(sqlite "$1" 'PRAGMA integrity_check' 2>&1) || true
    [[ $said == ok ]] || fail 65 "$1: ${said:0:300}"
    sqlite "$1" 'SELECT count(*) FROM people, api_keys LIMIT 1' >/dev/null 2>&1 || fail 65 "$1 has no people and no api_keys: it is no database of Subtide"
}
