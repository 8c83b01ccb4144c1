#!/bin/sh
# Makes the secrets that only this installation's containers share, each into the volume of who needs it (compose.yml, service
# `keys`). What is there stays: a second run changes no password. Nothing is printed, and nothing stands in an argument.
#
#   docker compose run --rm keys                    makes what is missing, and users.acl anew after a change of redis/users.acl
#   docker compose run --rm keys sh /opt/keys.sh renew && docker compose up -d --force-recreate       new passwords of Redis
set -eu
umask 077
keys=${KEYS:-/keys}
acl=${ACL:-/opt/redis/users.acl}
state=${STATE_DIRECTORY:-/var/lib/subtide}

random() { head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }
sha256() { sha256sum | cut -d ' ' -f 1; }
# Standard input as a file of that mode, whole or not at all: put MODE FILE
put() {
    cat >"$2.new"
    chmod "$1" "$2.new"
    mv -f "$2.new" "$2"
}

users='gateway stt-worker translation-worker'
if [ "${1:-}" = renew ]; then
    for user in $users; do rm -f "$keys/$user/redis-url"; done
    rm -f "$keys/redis/operator"
fi

fill=
for user in $users; do
    url=$keys/$user/redis-url
    [ -s "$url" ] || printf 'redis://%s:%s@redis:6379' "$user" "$(random)" | put 0400 "$url"
    hash=$(sed 's/^redis:..[^:]*:\([0-9a-f]*\)@.*/\1/' "$url" | tr -d '\n' | sha256)
    fill="$fill;s/{$user}/$hash/"
done
# Redis, Grafana and PostgreSQL run as users of their own; each sees its own volume alone.
[ -s "$keys/redis/operator" ] || random | put 0444 "$keys/redis/operator"
fill="$fill;s/{operator}/$(sha256 <"$keys/redis/operator")/"
sed "/^#/d;/^\$/d$fill" "$acl" | put 0444 "$keys/redis/users.acl"

[ -s "$keys/grafana/password" ] || random | put 0444 "$keys/grafana/password"
[ -s "$keys/postgres/password" ] || random | put 0444 "$keys/postgres/password"
printf 'postgres://subtide:%s@postgres/subtide' "$(cat "$keys/postgres/password")" | put 0400 "$keys/gateway/database-url"

# Where the gateway itself would put it. Made here, it is a way in from the start: API keys.
[ -s "$state/auth-secret" ] || random | put 0600 "$state/auth-secret"
