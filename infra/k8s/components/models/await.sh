#!/bin/sh
# Waits until the Job has pulled all that PULL names. It asks nobody but the volume: a hub that is away stops no worker.
set -eu
until [ "$(cat "$MODELS_DIR/.pulled" 2>/dev/null)" = "$PULL" ]; do
    echo "waiting for the models $PULL: kubectl logs -n subtide job/models -f" >&2
    sleep 5
done
