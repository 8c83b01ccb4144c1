#!/bin/sh
# Gets the models that MODELS_PULL names into MODELS_DIR (compose.yml, service `models`). Without any, or when they are all there
# already, it asks nobody: a hub that is away stops no worker.
set -eu
[ -n "${MODELS_PULL:-}" ] || { echo "MODELS_PULL names no model: workers use those of the image, or what lies in MODELS_DIR"; exit 0; }
pulled=$MODELS_DIR/.pulled
if [ "$(cat "$pulled" 2>/dev/null)" = "$MODELS_PULL" ]; then
    echo "all here already: $MODELS_PULL (to ask the hub again: remove $pulled)"
    exit 0
fi
[ -w "$MODELS_DIR" ] || {
    echo "cannot write into the directory of models: uid 65532 must own MODELS_HOST_DIR (chown 65532:65532), or the volume" >&2
    exit 73
}
for model in $MODELS_PULL; do
    subtide models pull "$model"
done
printf '%s' "$MODELS_PULL" >"$pulled.new"
mv "$pulled.new" "$pulled"
