#!/usr/bin/env bash
# Builds Subtide for NVIDIA GPUs, on a machine with or without one: bash infra/cuda/build.sh [PACKAGE...]
#
# Packages are subtide, stt-worker and translation-worker unless named; the programs land in target-cuda/release.
# CUDA_COMPUTE_CAP says for which GPUs (80 A100, 86 A10, 89 L4, 90 H100 and H200); default: the GPU of this machine, else
# 90. A program built for 90 runs on Hopper only.
# toolkit.sh brings what is missing of CUDA.
set -euo pipefail
cd "$(dirname "$0")/../.."

packages=("$@")
[ ${#packages[@]} -gt 0 ] || packages=(subtide stt-worker translation-worker)

. infra/cuda/toolkit.sh
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target-cuda}

arguments=()
for package in "${packages[@]}"; do arguments+=(--package "$package"); done
cargo build --release --locked --features "$(printf '%s/cuda,' "${packages[@]}" | sed 's/,$//')" "${arguments[@]}"

# Without a GPU the program must say so, not crash.
if ! command -v nvidia-smi >/dev/null && [ -x "$CARGO_TARGET_DIR/release/subtide" ]; then
    said=$(LD_LIBRARY_PATH="${stubs:-}" "$CARGO_TARGET_DIR/release/subtide" bench engine --device cuda \
        --speech models/demo-stt-en 2>&1) && { echo "it ran without a GPU: $said" >&2; exit 1; }
    case $said in
    *"device cuda:0"*) echo "built; without a GPU it says: $said" ;;
    *) echo "without a GPU it should name the device, but says: $said" >&2; exit 1 ;;
    esac
fi
