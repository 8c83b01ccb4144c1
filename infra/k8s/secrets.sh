#!/bin/sh
# Prints the Secrets that an installation needs, each with a new random value:
#
#   sh secrets.sh | kubectl create -n subtide -f -
#
# `create`, so that what is there already is never replaced: a second run says AlreadyExists and changes nothing.
# Nothing is written to disk or stands in an argument. Needs openssl. What each role may do in Redis is ../redis/users.acl.
set -eu
random() { openssl rand -hex 32; }
sha256() { printf %s "$1" | openssl dgst -sha256 -r | cut -d' ' -f1; }

gateway=$(random)
stt_worker=$(random)
translation_worker=$(random)
keda=$(random)

# Those of its users that are here too, with the SHA-256 of their passwords; indented, to stand in what follows.
users() {
    sed -n "s/{gateway}/$(sha256 "$gateway")/; s/{stt-worker}/$(sha256 "$stt_worker")/
        s/{translation-worker}/$(sha256 "$translation_worker")/
        /^user \(default\|health\|gateway\|stt-worker\|translation-worker\) /s/^/    /p" "$1"
}
acl=$(users "$(dirname "$0")/../redis/users.acl")
[ "$(printf '%s\n' "$acl" | wc -l)" -eq 5 ] || { echo "secrets.sh: ../redis/users.acl has other users than expected" >&2; exit 65; }

cat <<YAML
# Who may do what in Redis. Passwords are here as their SHA-256 alone.
apiVersion: v1
kind: Secret
metadata: {name: redis-acl}
stringData:
  users.acl: |
$acl
    user keda on #$(sha256 "$keda") resetkeys ~audio_jobs ~translation_jobs resetchannels -@all +@connection -@dangerous +info +xpending +xinfo|groups
---
# How each role reaches Redis, as a user of its own.
apiVersion: v1
kind: Secret
metadata: {name: redis-gateway}
stringData:
  url: redis://gateway:$gateway@redis:6379
---
apiVersion: v1
kind: Secret
metadata: {name: redis-stt-worker}
stringData:
  url: redis://stt-worker:$stt_worker@redis:6379
---
apiVersion: v1
kind: Secret
metadata: {name: redis-translation-worker}
stringData:
  url: redis://translation-worker:$translation_worker@redis:6379
---
# How KEDA looks at the queues (components/keda).
apiVersion: v1
kind: Secret
metadata: {name: redis-keda}
stringData:
  username: keda
  password: $keda
---
# auth-secret seals the keys that sign our tokens: keep it with the backups of the database.
apiVersion: v1
kind: Secret
metadata: {name: gateway}
stringData:
  jwt-secret: $(random)
  auth-secret: $(random)
YAML
