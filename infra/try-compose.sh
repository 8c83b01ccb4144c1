#!/usr/bin/env bash
# Tries compose.yml for real, with nothing from an image registry: makes a base image by debootstrap, starts a Docker daemon of
# its own, builds the image from host-built programs, and takes everything down again. In between:
#
#   up       from `up` to the first caption, each step timed; what is published, and what Redis lets each role do
#   scale    1, 3, 1 stt-workers under ten live sessions: every utterance has its final, with the words of an undisturbed run
#   kill     one worker dies, then `kill stt-worker` for all of them under load, and back: the same
#   watch    Prometheus finds every replica that there is, and its Alertmanager
#   models   a model is pulled from a hub before workers start, broken off and gone on with; only that step reaches the hub
#   autoscale  follows the age of the queue
#   dockerfile  each stage of Dockerfile, with stand-ins for the images of Rust and CUDA whose compilers bring what is built
#
#   sudo infra/try-compose.sh FILE.wav        on a throw-away machine: it starts a daemon and leaves iptables rules
#
# Lines `FIGURE name value` are for machines. Needs: docker.io docker-compose iptables debootstrap nodejs curl; and for `watch`
# prometheus and prometheus-alertmanager (programs of the host, put into an image); `cargo build --release` and `npm ci` in web-ui.
#   ROOTFS=DIR    a debootstrapped directory to use again (made there when absent)
#   BIN=DIR       the four programs (default target/release);  MODELS=DIR  the demo models (default models)
#   ONLY="up scale"   some steps alone; `up` is always made;  ONLY=redis: up to a healthy Redis, without programs or FILE.wav
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
wav=${1:-}
only=${ONLY:-up scale kill watch models autoscale dockerfile}
bin=${BIN:-$root/target/release}
models=${MODELS:-$root/models}
sessions=10
[[ $EUID -eq 0 ]] || { echo "must be root: debootstrap and dockerd are" >&2; exit 64; }
[[ $only == redis || -f $wav ]] || { echo "usage: $0 FILE.wav" >&2; exit 64; }
for tool in dockerd docker docker-compose debootstrap iptables ip node curl; do
  command -v "$tool" >/dev/null || { echo "$tool is missing; see the head of this file" >&2; exit 69; }
done

work=$(mktemp -d /tmp/subtide-compose.XXXXXX)
: >"$work/env"
rootfs=${ROOTFS:-$work/rootfs}
export DOCKER_HOST=unix://$work/docker.sock
export DOCKER_BUILDKIT=0 COMPOSE_PROJECT_NAME=subtide-try
export SUBTIDE_IMAGE=subtide:try REDIS_IMAGE=redis:try PROMETHEUS_IMAGE=prometheus:try ALERTMANAGER_IMAGE=alertmanager:try
export GATEWAY_PORT=${GATEWAY_PORT:-15026} SECRETS_DIR=$work/secrets
stream_url=ws://127.0.0.1:$GATEWAY_PORT/v1/stream
daemon=
world=
children=()

# What stands in a .env of the operator's must not have a say.
compose() { docker-compose --env-file "$work/env" -f "$here/compose.yml" "$@"; }

cleanup() {
  local status=$?
  set +e
  for child in "${children[@]}"; do kill "$child" 2>/dev/null; done
  [[ -z $world ]] || ip netns delete "$world"
  if [[ -n $daemon ]]; then
    if [[ $status -ne 0 ]]; then
      compose ps
      compose logs --no-color --tail=40
    fi
    compose --profile watch down --volumes --timeout 20 >"$work/down.log" 2>&1
    kill "$daemon"
    wait "$daemon"
  fi
  rm -rf "$work"
  exit "$status"
}
trap cleanup EXIT

# docker build, silent but for a failure: it warns of itself at every call.
build() { docker build -q --network none "$@" >"$work/build.log" 2>&1 || { cat "$work/build.log" >&2; return 1; }; }
say() { printf '\n== %s\n' "$*"; }
fail() { echo "$*" >&2; exit 1; }
wanted() { [[ " $only " == *" $1 "* ]]; }
now() { echo "$EPOCHREALTIME"; }
# timed NAME SINCE: a figure of the seconds since then.
timed() { awk -v name="$1" -v from="$2" -v to="$EPOCHREALTIME" 'BEGIN { printf "FIGURE %s_seconds %.2f\n", name, to - from }'; }
ids() { docker ps --filter "label=com.docker.compose.service=$1" "${@:2}" -q; }

wait_healthy() { # SERVICE COUNT
  local deadline=$((SECONDS + 120)) healthy=0
  while ((SECONDS < deadline)); do
    healthy=$(ids "$1" --filter health=healthy | wc -l)
    if ((healthy == $2)); then echo "$1: $healthy healthy"; return 0; fi
    sleep 0.2
  done
  echo "$1: only $healthy of $2 became healthy" >&2
  return 1
}

redis_cli() { compose exec -T redis redis-cli "$@"; }
# The way autoscale does it, too: nothing else is touched.
scale() { compose up -d --no-build --no-deps --no-recreate --scale "$1=$2" "$1" >>"$work/compose.log" 2>&1; }
stream() { node "$here/try-stream.mjs" "$stream_url" "$wav" "$@"; }

make_images() {
  if [[ ! -f $rootfs/etc/debian_version ]]; then
    say "base image by debootstrap"
    local began; began=$(now)
    debootstrap --variant=minbase --include=ca-certificates,redis-server,busybox bookworm "$rootfs" >"$work/debootstrap.log"
    timed compose_base "$began"
  fi
  # Where the official Redis image keeps its data, owned as there; and the wget that the official images of `watch` have.
  install -d -o 999 -g 999 "$rootfs/data"
  [[ -e $rootfs/usr/bin/wget ]] || ln -s busybox "$rootfs/usr/bin/wget"

  # Without docker0, which may be somebody else's: the networks of compose.yml are all that is wanted.
  say "a Docker daemon of our own in $work"
  dockerd --data-root "$work/data" --exec-root "$work/exec" -p "$work/docker.pid" --bridge=none \
    -H "$DOCKER_HOST" >"$work/dockerd.log" 2>&1 &
  daemon=$!
  for _ in $(seq 60); do docker info >/dev/null 2>&1 && break; sleep 1; done
  docker info >/dev/null || { tail -20 "$work/dockerd.log" >&2; exit 1; }
  tar -C "$rootfs" --exclude=./var/cache/apt --exclude=./var/lib/apt -c . | docker import - debian:bookworm-slim
  printf 'FROM debian:bookworm-slim\nVOLUME /data\n' | build -t redis:try -
}

make_image() {
  say "the image from host-built programs"
  local began; began=$(now)
  mkdir -p "$work/context/bin" "$work/context/models" "$work/context/web-ui"
  install -t "$work/context/bin" "$bin"/{gateway,stt-worker,translation-worker,subtide}
  strip --strip-debug "$work"/context/bin/* || echo "not stripped"
  cp -r "$models"/demo-* "$work/context/models/"
  cp -r "$root"/web-ui/page/. "$work/context/web-ui/"
  build -f "$here/Dockerfile.prebuilt" -t "$SUBTIDE_IMAGE" "$work/context"
  rm -rf "$work/context"
  timed compose_image "$began"
}

# All of Dockerfile, but for what compilers and package managers do in it: those of the stand-ins bring the host-built programs.
try_dockerfile() {
  say "each stage of Dockerfile, with stand-ins for compilers and package managers"
  local standin=$work/standin target said
  mkdir -p "$standin/bin"
  cp "$bin"/{gateway,stt-worker,translation-worker,subtide} "$standin"
  # cargo: what is asked for is there after `build`; and `chef` must be asked before, with the same list.
  cat >"$standin/bin/cargo" <<'CARGO'
#!/bin/sh
set -eu
case "$1 ${2:-}" in
"chef prepare") test -f Cargo.lock && echo recipe >recipe.json ;;
"chef cook") test -f recipe.json && echo "$*" >>/tmp/cooked ;;
build*)
    packages=$(printf '%s\n' "$@" | grep -xE 'gateway|stt-worker|translation-worker|subtide')
    for package in $packages; do
        grep -q -- "-p $package" /tmp/cooked || { echo "$package was not cooked" >&2; exit 1; }
        install -D "/standin/$package" "$CARGO_TARGET_DIR/release/$package"
    done ;;
esac
CARGO
  local tool
  for tool in apt-get strip nvcc nvidia-smi; do printf '#!/bin/sh\n' >"$standin/bin/$tool"; done
  chmod +x "$standin"/bin/*
  printf 'FROM debian:bookworm-slim\nCOPY . /standin/\nENV PATH=/standin/bin:$PATH\n' >"$standin/Dockerfile"
  build -t standin:try "$standin"
  for target in cpu cuda; do
    build -f "$here/Dockerfile" --target "$target" --build-arg RUST=standin:try --build-arg CUDA_BASE=standin:try \
      -t "subtide:$target" "$root"
    said=$(docker run --rm --read-only --cap-drop ALL --network none -v /srv/models -v /var/lib/subtide "subtide:$target" sh -c \
      'id -u && subtide --version && ls /models && touch /var/lib/subtide/mine /srv/models/mine' 2>&1) || fail "$target: $said"
    [[ $said == 65532* && $said == *demo-stt-en* ]] || fail "$target: $said"
    echo "$target: as 65532, $(sed -n 2p <<<"$said"), volumes are its own"
  done
  # What is the same in both files is said twice, for there is no way to say it once.
  diff <(sed -n '/^FROM ${BASE} AS cpu/,/^CMD/p' "$here/Dockerfile" | grep -vE '^#|^COPY|^FROM') <(grep -vE '^#|^COPY|^FROM|^ARG' "$here/Dockerfile.prebuilt") ||
    fail "Dockerfile and Dockerfile.prebuilt make different images"
  rm -rf "$standin"
}

up() {
  say "up, with one stt-worker and two translation-workers"
  local began; began=$(now)
  compose up -d --no-build --scale translation-worker=2 >>"$work/compose.log" 2>&1 || { cat "$work/compose.log"; return 1; } &
  local upping=$!
  wait_healthy redis 1;              timed compose_up_to_redis_healthy "$began"
  wait_healthy stt-worker 1
  wait_healthy translation-worker 2; timed compose_up_to_workers_healthy "$began"
  wait_healthy gateway 1;            timed compose_up_to_gateway_healthy "$began"
  wait "$upping"
  # Nothing was set: an API key is the way in.
  SUBTIDE_TOKEN=$(compose exec -T gateway subtide admin keys create --label try --scopes stream | grep -o 'stk_[A-Za-z0-9_-]*') \
    stream --first --figures compose_first_words
  timed compose_up_to_first_caption "$began"

  # From here on each session is another person, whom a backend of ours vouches for.
  JWT_SECRET=$(head -c 48 /dev/urandom | base64 -w0)
  export JWT_SECRET
  began=$(now)
  compose up -d --no-build --scale translation-worker=2 >>"$work/compose.log" 2>&1
  wait_healthy gateway 1; timed compose_setting_changed "$began"
}

outside() {
  say "what an outsider sees"
  local page=http://127.0.0.1:$GATEWAY_PORT published
  curl -fsS -o /dev/null -w '/ %{http_code} %{content_type}\n' "$page/"
  local refused
  refused=$(curl -s -m 5 -o /dev/null -w '%{http_code}' -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' \
    -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' -H 'Sec-WebSocket-Protocol: subtide.v1' "$page/v1/stream" || true)
  [[ $refused == 401 ]] || fail "no token, and yet not 401 but $refused"
  published=$(docker ps --format '{{.Ports}}' | tr ',' '\n' | grep -e '->' || true)
  [[ $published == "127.0.0.1:$GATEWAY_PORT->5026/tcp" ]] || fail "published: $published"
  echo "published: $published"
}

# What Redis refused to a role that only did its work; and that each is refused what is none of its business.
redis_rights() {
  say "what Redis lets each role do"
  local refused; refused=$(redis_cli ACL LOG | grep -c '^username$' || true)
  echo "FIGURE compose_redis_refusals $refused"
  ((refused == 0)) || { redis_cli ACL LOG; fail "a role was refused what it needs"; }
  redis_cli ACL LIST | sed 's/#[0-9a-f]*/#.../'
  local role url answer
  for role in gateway stt-worker translation-worker; do
    url=$(compose exec -T "$role" cat /run/keys/redis-url)
    for asked in FLUSHALL 'CONFIG GET dir' 'ACL LIST' 'KEYS audio:' 'GET secret:1' SHUTDOWN MONITOR; do
      # shellcheck disable=SC2086
      answer=$(docker exec -i "$(ids redis)" /usr/bin/env sh -c 'read -r url; exec redis-cli --no-auth-warning -u "$url" "$@"' sh $asked <<<"$url" 2>&1)
      [[ $answer == *NOPERM* ]] || fail "$role may say $asked: $answer"
    done
  done
  url=$(compose exec -T translation-worker cat /run/keys/redis-url)
  answer=$(docker exec -i "$(ids redis)" sh -c 'read -r url; exec redis-cli --no-auth-warning -u "$url" XLEN audio_jobs' <<<"$url" 2>&1)
  [[ $answer == *NOPERM* ]] || fail "translation-worker reads speech: $answer"
  answer=$(docker exec "$(ids redis)" sh -c 'PATH=/usr/local/bin:/usr/bin:/bin redis-cli PING' 2>&1)
  [[ $answer == *NOAUTH* ]] || fail "without a password: $answer"
  redis_cli ACL LOG RESET >/dev/null
  local old; old=$(compose exec -T gateway cat /run/keys/redis-url)
  compose run --rm keys sh /opt/keys.sh renew >>"$work/compose.log" 2>&1
  compose up -d --no-build --force-recreate --scale translation-worker=2 >>"$work/compose.log" 2>&1
  wait_healthy gateway 1
  wait_healthy stt-worker 1
  answer=$(docker exec -i "$(ids redis)" sh -c 'read -r url; exec redis-cli --no-auth-warning -u "$url" PING' <<<"$old" 2>&1)
  [[ $answer == *WRONGPASS* ]] || fail "the old password still gets in: $answer"
  stream --first --figures new_passwords_first_words
  echo "new passwords are made and taken, and the old ones get nobody in"
  echo "refused, each: FLUSHALL, CONFIG, ACL, KEYS, SHUTDOWN, MONITOR, keys that are not theirs; and everything without a password"
}

queues() {
  say "the queues, as an operator sees them"
  redis_cli XLEN audio_jobs
  redis_cli XINFO GROUPS audio_jobs
  compose exec -T gateway subtide status || echo "(exit status $?)"
  echo "FIGURE $1_dead_letters $(redis_cli XLEN dead_letters)"
  docker stats --no-stream --format 'table {{.Name}}\t{{.MemUsage}}\t{{.PIDs}}'
}

try_scale() {
  say "undisturbed: one session"
  stream --loops 2 --keep "$work/undisturbed.json" --figures undisturbed
  say "1, 3, 1 stt-workers under $sessions live sessions"
  stream --sessions $sessions --loops 2 --like "$work/undisturbed.json" --figures scale &
  local load=$! began
  children+=("$load")
  sleep 15
  began=$(now); scale stt-worker 3; wait_healthy stt-worker 3; timed scale_to_3 "$began"
  if wanted watch; then targets 3; else sleep 40; fi
  began=$(now); scale stt-worker 1; wait_healthy stt-worker 1; timed scale_to_1 "$began"
  wait "$load" || lost=1
  queues scale
}

try_kill() {
  say "workers are killed under $sessions live sessions"
  scale stt-worker 3
  wait_healthy stt-worker 3
  if [[ ! -f $work/undisturbed.json ]]; then stream --keep "$work/undisturbed.json"; fi
  stream --sessions $sessions --figures kill &
  local load=$! began victim
  children+=("$load")
  sleep 10
  # Not `docker kill`: after that Docker takes the worker for stopped on purpose, and does not start it again.
  victim=$(ids stt-worker | head -1)
  kill -KILL "$(docker inspect --format '{{.State.Pid}}' "$victim")"
  began=$(now); sleep 1; wait_healthy stt-worker 3; timed kill_one_until_healthy "$began"
  sleep 5
  compose kill stt-worker 2>&1 | tail -3
  wait_healthy stt-worker 0
  sleep 5
  began=$(now); scale stt-worker 3; wait_healthy stt-worker 3; timed kill_all_until_healthy "$began"
  wait "$load" || lost=1
  queues kill
}

# Whether there is something to try `watch` with.
watch_images() {
  local program
  for program in prometheus prometheus-alertmanager; do
    command -v "$program" >/dev/null || { echo "NOT TRIED: watch, for $program is not here"; only=${only/watch/}; return; }
  done
  mkdir -p "$work/watch"
  cp "$(command -v prometheus)" "$(command -v prometheus-alertmanager)" "$work/watch"
  cp -r /usr/share/prometheus/alertmanager "$work/watch/templates"
  for program in prometheus prometheus-alertmanager; do
    printf 'FROM debian:bookworm-slim\nCOPY %s /bin/\nCOPY templates /usr/share/prometheus/alertmanager\nRUN install -d -o 65534 -g 65534 /prometheus /alertmanager\nENTRYPOINT ["/bin/%s"]\n' \
      "$program" "$program" >"$work/watch/Dockerfile"
    build -t "${program#prometheus-}:try" "$work/watch"
  done
  rm -rf "$work/watch"
}

ask_prometheus() { compose exec -T prometheus wget -q -O - "http://127.0.0.1:9090/api/v1/$1"; }

watch_up() {
  say "Prometheus and Alertmanager (Grafana has no package here: its files are held by tests)"
  compose --profile watch up -d --no-build --no-deps prometheus alertmanager >>"$work/compose.log" 2>&1
  wait_healthy prometheus 1
  wait_healthy alertmanager 1
}

# Until Prometheus sees that many stt-workers, two translation-workers and the gateway, and all of them up.
targets() { # STT_WORKERS
  local deadline=$((SECONDS + 90)) seen
  while ((SECONDS < deadline)); do
    seen=$(ask_prometheus targets | node -e '
      const { activeTargets } = JSON.parse(require("node:fs").readFileSync(0, "utf8")).data;
      const of = (job) => activeTargets.filter((target) => target.labels.job === job);
      const up = activeTargets.filter((target) => target.health === "up").length;
      const jobs = ["gateway", "stt-worker", "translation-worker"].map((job) => of(job).length);
      console.log(`${jobs.join(" ")} ${up} ${activeTargets.length - up}`);')
    read -r gateways stt translation up down <<<"$seen"
    if ((gateways == 1 && stt == $1 && translation == 2 && down == 0)); then
      echo "Prometheus: $stt stt-workers, $translation translation-workers, 1 gateway; $up targets, all up"
      echo "FIGURE watch_targets_up $up"
      echo "FIGURE watch_targets_down $down"
      return 0
    fi
    sleep 2
  done
  ask_prometheus targets
  fail "Prometheus sees (gateways, stt, translation, up, down): $seen"
}

try_models() {
  say "a model from a hub, before workers start"
  local hub=198.51.100.2 port=8000 began files
  # A host of its own behind this one, as the world is: what a container can reach there, it reaches by a route out.
  world=subtide-try-world
  ip netns add $world
  ip link add name try-world0 type veth peer name eth0 netns $world
  ip address add 198.51.100.1/30 dev try-world0
  ip link set try-world0 up
  ip -n $world address add $hub/30 dev eth0
  ip -n $world link set eth0 up
  ip -n $world route add default via 198.51.100.1
  ip netns exec $world node "$here/try-hub.mjs" "$models/demo-stt-en" "$port" >"$work/hub.log" &
  children+=($!)
  export HF_ENDPOINT=http://$hub:$port MODELS_PULL=try/speech STT_MODEL=try/speech MODELS_DIR=/srv/models
  export TRANSLATION_MODELS=en-es=/models/demo-mt-en-es
  began=$(now)
  compose up -d --no-build --scale translation-worker=2 >>"$work/compose.log" 2>&1 || { compose logs models; return 1; }
  timed models_pulled "$began"
  # Of the bar of progress, how it looked in the end.
  compose logs --no-color models | tr -c '\n -~' '\n' | grep -oE '[0-9.]+ [KM]iB of .*[0-9]s|[0-9]+ files.*' | tail -2
  grep -q 'GET .*model.safetensors bytes=' "$work/hub.log" || { cat "$work/hub.log"; fail "it did not go on where it broke off"; }
  wait_healthy stt-worker 1
  [[ $(compose logs --no-color --tail=40 stt-worker) == *'"model":"/srv/models/try/speech"'* ]] || fail "the worker has another model"
  wait_healthy gateway 1
  stream --first --figures models_first_words
  if compose exec -T stt-worker timeout 3 bash -c "echo >/dev/tcp/$hub/$port" 2>/dev/null; then fail "a worker reaches the hub"; fi
  echo "a worker does not reach the hub"
  files=$(wc -l <"$work/hub.log")
  compose up -d --no-build --scale translation-worker=2 >>"$work/compose.log" 2>&1
  [[ $(wc -l <"$work/hub.log") == "$files" ]] || fail "the hub was asked again for what was there"
  echo "a second up asked the hub for nothing"
  unset HF_ENDPOINT MODELS_PULL STT_MODEL MODELS_DIR TRANSLATION_MODELS
}

try_autoscale() {
  say "autoscale: one stt-worker, $sessions sessions"
  scale stt-worker 1
  wait_healthy stt-worker 1
  # A tenth of a core, so that these sessions are too much for it; impatient, so that it need not take long; and one service alone.
  docker update --cpus 0.1 "$(ids stt-worker)" >/dev/null
  python3 "$here/autoscale/autoscale.py" --compose "docker-compose --env-file $work/env -f $here/compose.yml" \
    --service stt-worker=1:3 --every 2 --up-age 0.3 --up-for 2 --down-age 0.2 --down-after 15 --cooldown 4 >"$work/autoscale.log" &
  local autoscale=$! load most=0 count
  children+=("$autoscale")
  stream --sessions $sessions --figures autoscale &
  load=$!
  children+=("$load")
  while kill -0 "$load" 2>/dev/null; do
    count=$(ids stt-worker | wc -l)
    ((count > most)) && most=$count
    sleep 1
  done
  wait "$load" || lost=1
  local deadline=$((SECONDS + 90))
  while ((SECONDS < deadline)) && (($(ids stt-worker | wc -l) > 1)); do sleep 1; done
  kill "$autoscale"
  grep -v '"action": "keep"' "$work/autoscale.log" || true
  echo "FIGURE autoscale_most_workers $most"
  echo "FIGURE autoscale_workers_at_the_end $(ids stt-worker | wc -l)"
  ((most > 1)) || { tail -5 "$work/autoscale.log"; fail "it never scaled up"; }
  (($(ids stt-worker | wc -l) == 1)) || fail "it never scaled down"
}

lost=
# One function, so that a change of this file does not reach a run that has begun.
main() {
  make_images
  if [[ $only == redis ]]; then
    # The image of the one-shots, with no programs of ours in it: keys and models want none.
    printf 'FROM debian:bookworm-slim\n%s\n' "$(sed -n '/^RUN install/,/[^\\]$/p; /^USER/p' "$here/Dockerfile.prebuilt")" |
      build -t "$SUBTIDE_IMAGE" -
    compose up -d --no-build redis
    wait_healthy redis 1
    redis_cli config get maxmemory-policy
    redis_cli config get appendonly
    exit 0
  fi
  make_image
  if wanted dockerfile; then try_dockerfile; fi
  if wanted watch; then watch_images; fi
  up
  outside
  if wanted watch; then watch_up; targets 1; fi
  if wanted scale; then try_scale; fi
  if wanted kill; then try_kill; fi
  redis_rights
  if wanted models; then try_models; fi
  if wanted autoscale; then try_autoscale; fi
  if wanted watch; then
    say "what Prometheus says of the rules"
    ask_prometheus rules | node -e '
    const groups = JSON.parse(require("node:fs").readFileSync(0, "utf8")).data.groups;
    const rules = groups.flatMap((group) => group.rules);
    const bad = rules.filter((rule) => rule.health !== "ok");
    console.log(`${rules.length} rules, ${bad.length} cannot be evaluated; firing: ${rules.filter((rule) => rule.state === "firing").map((rule) => rule.name).join(", ") || "none"}`);
    console.log(`FIGURE watch_rules_not_evaluated ${bad.length}`);'
    [[ $(ask_prometheus alertmanagers) == *alertmanager:9093* ]] || fail "Prometheus knows no Alertmanager"
  fi
  [[ -z $lost ]] || fail "something was lost: see BAD above"
  say "good"
  exit 0
}
main
