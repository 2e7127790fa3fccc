#!/usr/bin/env bash
# Everything that needs a GPU, on a machine that may have no network: benchmarks/gpu.sh PART... Parts:
#
#   kernels   build the peers, check the scan, watch it with compute-sanitizer, time it        (about 8 minutes)
#   network   time the network, attention and the annotator's loop; builds the peers first
#             where `kernels` has not and none are carried                                     (about 5 minutes)
#   train     the starter by the recipe of docs/training.md, then a short b3 run (data: see TRAIN_* below)
#   two-gpus  one GPU against two: videos on workers, and training in two processes            (about 9 minutes)
#   dry-run   the same commands on the CPU, tiny, to see that they run
#
# Carried along, where there is no package index:
#   WHEELS      a folder of wheels for what the machine lacks (default .gpu/wheels)
#   ARCHIVES    a folder with the source archives of mamba-ssm and causal-conv1d (default .gpu/archives)
#   PEERS       peers.tar.gz of an earlier call for the same kind of GPU: nothing is built then
#   TRAIN_STARTER, TRAIN_B3   the arguments of `vivim train` for each
# Writes into $OUT (default gpu-output): JSON, a log of each part, and the peers that were built.
set -uo pipefail
cd "$(dirname "$0")/.."
[[ $# -gt 0 ]] || set -- help
out=${OUT:-gpu-output}
wheels=${WHEELS:-.gpu/wheels} archives=${ARCHIVES:-.gpu/archives}
python=${PYTHON:-python3}
mkdir -p "$out"
out=$(cd "$out" && pwd)
site=$(mktemp -d)
failed=()
export PYTHONUNBUFFERED=1 PYTHONPATH="$PWD/model:$PWD:$site${PYTHONPATH:+:$PYTHONPATH}"

step() {  # step NAME SECONDS COMMAND...: runs it with a limit, keeps its output, goes on after a failure
    local name=$1 seconds=$2 began=$SECONDS
    shift 2
    echo "== $name"
    timeout "$seconds" "$@" >"$site/step.log" 2>&1 || { echo "   failed, code $?"; failed+=("$name"); }
    tail -n "${LINES_SHOWN:-25}" "$site/step.log"
    { echo "== $name"; cat "$site/step.log"; } >>"$out/$part.log"
    echo "   $((SECONDS - began)) s"
}

install_wheels() {  # what cannot be imported yet, from the carried wheels
    local needed
    needed=$("$python" - <<'PYTHON'
import importlib.util
packages = {"zarr": "zarr", "numcodecs": "numcodecs", "filelock": "filelock", "platformdirs": "platformdirs", "psutil": "psutil",
            "pydicom": "pydicom", "nibabel": "nibabel", "tifffile": "tifffile", "av": "av", "einops": "einops",
            "google_crc32c": "google-crc32c", "donfig": "donfig", "msgspec": "msgspec", "cv2": "opencv-python-headless",
            "skimage": "scikit-image", "scipy": "scipy", "lightning_fabric": "lightning-fabric"}
print(*(name for module, name in packages.items() if importlib.util.find_spec(module) is None))
PYTHON
)
    echo "installing: ${needed:-nothing}"
    for package in $needed; do
        "$python" -m pip install --quiet --no-index --no-deps --find-links "$wheels" --target "$site" "$package" ||
            echo "   $package is neither installed nor among the wheels"
    done
}

build_peers() {  # once, in the background, with the GPU free for checks; wait_for_peers ends it
    [[ -z ${peer:-} ]] || return 0
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
    if [[ -n ${PEERS:-} ]]; then
        tar -xzf "$PEERS" -C "$site" || failed+=(peer)
        peer=built
    elif ls "$archives"/*.tar.gz >/dev/null 2>&1; then
        nice "$python" -m benchmarks.gpu_peer "$site" "$archives"/*.tar.gz >"$site/peer.log" 2>&1 &
        peer=$!
    fi
}

wait_for_peers() {
    if [[ -n ${peer:-} && $peer != built ]]; then
        wait "$peer" || failed+=(peer)
        tail -n 2 "$site/peer.log"
        cat "$site/peer.log" >>"$out/$part.log"
        (cd "$site" && tar -czf "$out/peers.tar.gz" mamba_ssm causal_conv1d ./*_cuda.so)
        peer=built
    fi
}

kernels() {
    build_peers
    step scan_check 300 "$python" -m benchmarks.gpu_scan_check --json "$out/scan_check.json"
    if command -v compute-sanitizer >/dev/null; then
        step memcheck 90 compute-sanitizer --tool memcheck --error-exitcode 9 "$python" -m benchmarks.gpu_memcheck
        step racecheck 90 "$python" -m benchmarks.gpu_races
    fi
    wait_for_peers
    for dtype in float32 bfloat16; do
        step "scan_$dtype" 120 "$python" -m benchmarks.scan --device cuda --dtype "$dtype" --rounds 30 --json "$out/scan_$dtype.json"
    done
}

network() {
    build_peers
    wait_for_peers
    step network 150 "$python" -m benchmarks.gpu_network --json "$out/network.json"
    step attention 60 "$python" -m benchmarks.attention --device cuda --json "$out/attention.json"
    step annotator 120 "$python" -m benchmarks.annotator --device cuda --rounds 2 --json "$out/annotator.json"
}

train() {
    if [[ -n ${TRAIN_STARTER:-} ]]; then
        # shellcheck disable=SC2086
        step starter 590 "$python" -m vivim train $TRAIN_STARTER --device cuda
    fi
    if [[ -n ${TRAIN_B3:-} ]]; then
        # shellcheck disable=SC2086
        step b3 200 "$python" -m vivim train $TRAIN_B3 --device cuda
    fi
}

two_gpus() {
    step two_segment 330 "$python" -m benchmarks.two_gpus segment --rounds 1 --json "$out/two_segment.json"
    step two_train 260 "$python" -m benchmarks.two_gpus train --json "$out/two_train.json"
}

dry_run() {
    TRITON_INTERPRET=1 step scan_check 120 "$python" -m benchmarks.gpu_scan_check --device cpu --json "$out/scan_check.json"
    step scan_float32 200 "$python" -m benchmarks.scan --rounds 1 --json "$out/scan_float32.json"
    step network 120 "$python" -m benchmarks.gpu_network --device cpu --size b0 --batches 1 --rounds 1 --lengths 5 --json "$out/network.json"
    step attention 120 "$python" -m benchmarks.attention --frames 5 8 --rounds 1 --json "$out/attention.json"
    step annotator 200 "$python" -m benchmarks.annotator --device cpu --frames 16 --corrected 2 --json "$out/annotator.json"
}

for part in "$@"; do
    case $part in
        kernels) install_wheels; kernels ;;
        network) install_wheels; network ;;
        train) install_wheels; train ;;
        two-gpus) install_wheels; two_gpus ;;
        dry-run) dry_run ;;
        *) echo "kernels, network, train, two-gpus or dry-run, not $part"; exit 2 ;;
    esac
done
[[ ${#failed[@]} -eq 0 ]] || { echo "failed: ${failed[*]}"; exit 1; }
