#!/usr/bin/env bash
# Tries compose.yml for real, with nothing from an image registry: makes a base image by debootstrap, starts a Docker
# daemon of its own, builds the image from host-built binaries, runs three stt-workers and two translation-workers,
# streams a wav file through the gateway, kills a worker meanwhile, and takes everything down again.
#
#   sudo infra/try-compose.sh FILE.wav        on a throw-away machine: it starts a daemon and leaves iptables rules
#
# Needs: docker.io docker-compose iptables debootstrap nodejs curl; `cargo build --release` and `npm ci` in web-ui done.
#   ROOTFS=DIR   a debootstrapped directory to use again (made there when absent)
#   BIN=DIR      the four programs (default target/release);  MODELS=DIR  the demo models (default models)
#   ONLY=redis   stops after Redis is up and healthy: needs no binaries
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
wav=${1:-}
only=${ONLY:-}
bin=${BIN:-$root/target/release}
models=${MODELS:-$root/models}
[[ $EUID -eq 0 ]] || { echo "must be root: debootstrap and dockerd are" >&2; exit 64; }
[[ -n $only || -f $wav ]] || { echo "usage: $0 FILE.wav" >&2; exit 64; }
for tool in dockerd docker docker-compose debootstrap iptables node curl; do
  command -v "$tool" >/dev/null || { echo "$tool is missing; see the head of this file" >&2; exit 69; }
done

work=$(mktemp -d /tmp/subtide-compose.XXXXXX)
rootfs=${ROOTFS:-$work/rootfs}
export DOCKER_HOST=unix://$work/docker.sock
export DOCKER_BUILDKIT=0 COMPOSE_PROJECT_NAME=subtide-try
export SUBTIDE_IMAGE=subtide:try REDIS_IMAGE=redis:try GATEWAY_PORT=${GATEWAY_PORT:-15026}
JWT_SECRET=$(head -c 48 /dev/urandom | base64 -w0)
export JWT_SECRET
daemon=
bridge=$(ip -o link show docker0 2>/dev/null || true)

compose() { docker-compose -f "$here/compose.yml" "$@"; }

cleanup() {
  local status=$?
  set +e
  if [[ -n $daemon ]]; then
    if [[ $status -ne 0 ]]; then
      compose ps
      compose logs --no-color --tail=40
    fi
    compose down --volumes --timeout 20
    kill "$daemon"
    wait "$daemon"
    [[ -n $bridge ]] || ip link delete docker0
  fi
  rm -rf "$work"
  exit "$status"
}
trap cleanup EXIT

say() { printf '\n== %s\n' "$*"; }

wait_healthy() { # SERVICE COUNT
  local deadline=$((SECONDS + 120)) healthy=0
  while ((SECONDS < deadline)); do
    healthy=$(docker ps --filter "label=com.docker.compose.service=$1" --filter health=healthy -q | wc -l)
    if ((healthy == $2)); then echo "$1: $healthy healthy"; return 0; fi
    sleep 1
  done
  echo "$1: only $healthy of $2 became healthy" >&2
  return 1
}

redis_cli() { compose exec -T redis redis-cli "$@"; }

if [[ ! -f $rootfs/etc/debian_version ]]; then
  say "base image by debootstrap"
  debootstrap --variant=minbase --include=ca-certificates,redis-server bookworm "$rootfs" >"$work/debootstrap.log"
fi
# Where the official Redis image keeps its data, owned as there.
install -d -o 999 -g 999 "$rootfs/data"

say "a Docker daemon of our own in $work"
dockerd --data-root "$work/data" --exec-root "$work/exec" -p "$work/docker.pid" -H "$DOCKER_HOST" >"$work/dockerd.log" 2>&1 &
daemon=$!
for _ in $(seq 60); do docker info >/dev/null 2>&1 && break; sleep 1; done
docker info >/dev/null || { tail -20 "$work/dockerd.log" >&2; exit 1; }

tar -C "$rootfs" --exclude=./var/cache/apt --exclude=./var/lib/apt -c . | docker import - debian:bookworm-slim
tar -C "$rootfs" --exclude=./var/cache/apt --exclude=./var/lib/apt -c . | docker import --change 'VOLUME /data' - redis:try

if [[ $only == redis ]]; then
  compose up -d redis
  wait_healthy redis 1
  redis_cli config get maxmemory-policy
  redis_cli config get appendonly
  exit 0
fi

say "the image from host-built binaries"
mkdir -p "$work/context/bin" "$work/context/models" "$work/context/web-ui"
install -t "$work/context/bin" "$bin"/{gateway,stt-worker,translation-worker,subtide}
strip --strip-debug "$work"/context/bin/* || echo "not stripped"
cp -r "$models"/demo-* "$work/context/models/"
cp -r "$root"/web-ui/page/. "$work/context/web-ui/"
docker build -q -f "$here/Dockerfile.prebuilt" -t "$SUBTIDE_IMAGE" "$work/context"

say "up, with 3 stt-workers and 2 translation-workers"
compose up -d --no-build --scale stt-worker=3 --scale translation-worker=2
wait_healthy redis 1
wait_healthy stt-worker 3
wait_healthy translation-worker 2
wait_healthy gateway 1

say "what an outsider sees"
page=http://127.0.0.1:$GATEWAY_PORT
curl -fsS -o /dev/null -w '/ %{http_code} %{content_type}\n' "$page/"
[[ $(curl -s -o /dev/null -w '%{http_code}' "$page/v1/stream") == 401 ]] || { echo "no token, and yet no 401" >&2; exit 1; }
published=$(docker ps --format '{{.Ports}}' | tr ',' '\n' | grep -e '->' || true)
[[ $published == "127.0.0.1:$GATEWAY_PORT->5026/tcp" ]] || { echo "published: $published" >&2; exit 1; }
echo "published: $published"

say "a stream, and SIGKILL for one stt-worker in the middle of it"
node "$here/try-stream.mjs" "ws://127.0.0.1:$GATEWAY_PORT/v1/stream" "$wav" &
stream=$!
sleep 3
victim=$(docker ps --filter label=com.docker.compose.service=stt-worker -q | head -1)
# Not `docker kill`: after that Docker takes the worker for stopped on purpose, and does not start it again.
kill -KILL "$(docker inspect --format '{{.State.Pid}}' "$victim")"
wait "$stream"

say "the queues, as an operator sees them"
redis_cli xlen audio_jobs
redis_cli xinfo groups audio_jobs
docker stats --no-stream --format 'table {{.Name}}\t{{.MemUsage}}\t{{.PIDs}}'
wait_healthy stt-worker 3
say "good"
