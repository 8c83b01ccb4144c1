#!/bin/sh
# Pulls what PULL names into MODELS_DIR. What is there and intact is not fetched again; what broke off goes on.
set -eu
for model in ${PULL:?"names no model"}; do
    subtide models pull "$model"
done
# Workers wait for this name to say what they want (await.sh).
printf '%s' "$PULL" > "$MODELS_DIR/.pulled.new"
mv "$MODELS_DIR/.pulled.new" "$MODELS_DIR/.pulled"
