#!/usr/bin/env bash
# Try the built wheel by itself in fresh environments, one after the other: with pip and with uv, without extras, with
# [all] (PyQt6) and with [pyside]. `vivim info` must work in each, and the dock must open where there is a window.
#   scripts/try_wheel.sh dist/napari_vivim-*.whl python3.12 python3.13
# TOOLS="pip uv" and EXTRAS="none all pyside" choose some of them. Each environment is deleted when it has been tried.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
wheel=$(realpath "$1")
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"  # away from the checkout, which must not be imported
cat >open.py <<'PYTHON'
import time

import napari
import qtpy
import vivim

assert "site-packages" in vivim.__file__, vivim.__file__
began = time.perf_counter()
viewer = napari.Viewer()
dock, widget = viewer.window.add_plugin_dock_widget("napari-vivim", "Vivim Segment")
widget.window().repaint()
print(f"{qtpy.API_NAME}, napari {napari.__version__}, dock in {time.perf_counter() - began:.1f} s")
viewer.close()
PYTHON

try_one() {
    local python=$1 tool=$2 extra=$3 target=$wheel began=$SECONDS opened="no window"
    [ "$extra" = none ] || target="$wheel[$extra]"
    "$python" -m venv "$work/venv"  # an absolute path: programs name it in their first line
    case "$tool" in
        pip) "$work/venv/bin/python" -m pip install --quiet -c "$here/constraints.txt" "$target" ;;
        uv) uv pip install --quiet --python "$work/venv/bin/python" -c "$here/constraints.txt" "$target" ;;
    esac
    local installed=$((SECONDS - began))
    "$work/venv/bin/vivim" info --json --quiet >/dev/null
    [ "$extra" = none ] || opened=$("$here/scripts/with_display.sh" "$work/venv/bin/python" open.py 2>open.log | tail -1)
    echo "$("$work/venv/bin/python" --version), $tool, $extra: installed in $installed s; $opened"
    rm -rf "$work/venv"
}

for python in "$@"; do
    for tool in ${TOOLS:-pip uv}; do
        for extra in ${EXTRAS:-none all pyside}; do try_one "$python" "$tool" "$extra"; done
    done
done
