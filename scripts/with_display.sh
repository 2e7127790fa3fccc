#!/usr/bin/env bash
# Run a command that opens windows, on a machine with or without a display.
# With --demo first: where there is no display the command gets --headless and needs no window at all.
set -euo pipefail

demo=false
if [ "${1:-}" = "--demo" ]; then demo=true; shift; fi

has_display() { [ "$(uname)" != "Linux" ] || [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; }

if $demo; then
    if has_display; then exec "$@" --out demo-output; fi
    exec "$@" --headless --out demo-output
fi

if has_display; then exec "$@"; fi

packages="xvfb xauth libegl1 libgl1 libgl1-mesa-dri libfontconfig1 libglib2.0-0 libdbus-1-3 libxkbcommon-x11-0
libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-render-util0 libxcb-shape0 libxcb-xinerama0"

missing() {
    command -v xvfb-run >/dev/null || return 0
    local known library
    known=$(PATH="$PATH:/usr/sbin:/sbin" ldconfig -p)  # people who are not root may have no sbin on their path
    for library in libEGL.so.1 libGL.so.1 libxkbcommon-x11.so.0 libxcb-cursor.so.0 libdbus-1.so.3; do
        case "$known" in *"$library"*) ;; *) return 0 ;; esac
    done
    return 1
}

if missing; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "Installing what a window on a virtual screen needs ..."
        apt-get update -qq
        # shellcheck disable=SC2086
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
    else
        echo "The tests open real windows on a virtual screen. Missing system packages; install them with:" >&2
        echo "    sudo apt-get install" $packages >&2
        exit 1
    fi
fi
exec xvfb-run -a -s "-screen 0 1280x800x24" "$@"
