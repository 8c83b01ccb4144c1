# shellcheck shell=bash
# Sourced by build.sh and by ../Dockerfile, in the root of the repository: sets the environment in which candle builds for CUDA.
#
# Without nvcc 13.0 on PATH it is brought from PyPI into ~/.cache/subtide/cuda13 (104 MB; needs Python 3 with pip and a C
# compiler). A newer nvcc writes PTX that drivers of CUDA 13.0 (580.x) refuse. Libraries that only the driver or a full
# toolkit has are stood in for at link time by stubs in which every function says "no device": a program that meets them
# on a machine without a GPU ends with that error, and the real libraries take their place where there is one.

if [ -z "${CUDA_COMPUTE_CAP:-}" ] && command -v nvidia-smi >/dev/null; then
    CUDA_COMPUTE_CAP=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d .)
fi
export CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-90}

if ! command -v nvcc >/dev/null; then
    home=${CUDA13_DIR:-$HOME/.cache/subtide/cuda13}
    cuda=$home/nvidia/cu13
    if [ ! -e "$cuda/lib/stubs/libcuda.so.1" ]; then
        echo "bringing nvcc 13.0 into $home" >&2
        python3 -m pip install --quiet --no-deps --only-binary=:all: --no-compile --target "$home" \
            nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 \
            nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85
        ln -sfn lib "$cuda/lib64"
        ln -sf libcudart.so.13 "$cuda/lib/libcudart.so"
        mkdir -p "$cuda/lib/stubs"
        cargo fetch --quiet --locked
        bindings=$(find "${CARGO_HOME:-$HOME/.cargo}"/registry/src -maxdepth 2 -type d -name 'cudarc-*' | sort -V | tail -1)/src
        # cudarc's module, the library's name, its SONAME. libcuda is made last: it says that all is there.
        stub() {
            grep -hoE '^ +fn (cu|nvrtc)[A-Za-z_0-9]+\(' "$bindings/$1/sys/mod.rs" | sed 's/ *fn //;s/(//' | sort -u |
                sed 's/.*/int &(void){return 100;}/' |
                cc -x c -shared -fPIC -w -Wl,-soname,"$3" -o "$cuda/lib/stubs/lib$2.so" -
            ln -sf "lib$2.so" "$cuda/lib/stubs/$3"
        }
        stub cublas cublas libcublas.so.13
        stub cublaslt cublasLt libcublasLt.so.13
        stub curand curand libcurand.so.10
        stub nvrtc nvrtc libnvrtc.so.13
        stub driver cuda libcuda.so.1
    fi
    export CUDA_HOME=$cuda PATH=$cuda/bin:$PATH
    export LIBRARY_PATH=$cuda/lib:$cuda/lib/stubs${LIBRARY_PATH:+:$LIBRARY_PATH}
    export CUDARC_CUDA_VERSION=13000
    stubs=$cuda/lib:$cuda/lib/stubs
fi
export CUDAFORGE_THREADS=${CUDAFORGE_THREADS:-$(nproc)}
