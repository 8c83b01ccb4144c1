#!/bin/sh
# Prints the Secrets that an installation needs, each with a new random value:
#
#   sh secrets.sh | kubectl create -n subtide -f -
#
# `create`, so that what is there already is never replaced: a second run says AlreadyExists and changes nothing.
# Nothing is written to disk or stands in an argument. Needs openssl.
set -eu
random() { openssl rand -hex 32; }
sha256() { printf %s "$1" | openssl dgst -sha256 -r | cut -d' ' -f1; }

roles=$(random)
keda=$(random)
cat <<YAML
# Who may do what in Redis. Passwords are here as their SHA-256 alone.
apiVersion: v1
kind: Secret
metadata: {name: redis-acl}
stringData:
  users.acl: |
    user default off
    user subtide on #$(sha256 "$roles") ~* resetchannels -@all +@read +@write +@scripting +@connection -@dangerous -function -script|flush +info +time
    user health on nopass resetkeys resetchannels -@all +ping
    user keda on #$(sha256 "$keda") resetkeys ~audio_jobs ~translation_jobs resetchannels -@all +@connection -@dangerous +info +xpending +xinfo|groups
---
# How gateway and workers reach Redis.
apiVersion: v1
kind: Secret
metadata: {name: redis-client}
stringData:
  url: redis://subtide:$roles@redis:6379
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
