#!/usr/bin/env bash
# Run a command that opens windows, on a machine with or without a display.
# With --demo first: where there is no display the command gets --headless and needs no window at all.
# Else a virtual screen stands in for the display. What the system lacks for it is installed where that is possible
# without asking (as root, with apt-get); otherwise it is said which packages they are.
set -euo pipefail

demo=false
if [ "${1:-}" = "--demo" ]; then demo=true; shift; fi

has_display() { [ "$(uname)" != "Linux" ] || [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; }

packages="xvfb xauth libegl1 libgl1 libgl1-mesa-dri libfontconfig1 libglib2.0-0 libdbus-1-3 libxkbcommon-x11-0
libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-render-util0 libxcb-shape0"

# What a window needs and this system lacks, by name.
missing() {
    [ "$(uname)" = "Linux" ] || return 0
    has_display || command -v xvfb-run >/dev/null || printf ' xvfb-run'
    local known library PATH="$PATH:/usr/sbin:/sbin"  # people who are not root may have no sbin on their path
    command -v ldconfig >/dev/null || return 0        # then Qt itself will say what it lacks
    known=$(ldconfig -p)
    for library in libEGL.so.1 libGL.so.1 libfontconfig.so.1 libglib-2.0.so.0 libdbus-1.so.3 libxkbcommon-x11.so.0 \
        libxcb-cursor.so.0 libxcb-icccm.so.4 libxcb-image.so.0 libxcb-keysyms.so.1 libxcb-render-util.so.0 \
        libxcb-shape.so.0; do
        case "$known" in *"$library"*) ;; *) printf ' %s' "$library" ;; esac
    done
}

need_a_window() {
    local lacking
    lacking=$(missing)
    [ -n "$lacking" ] || return 0
    if ! has_display && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "Installing what a window needs:$lacking ..."
        apt-get update -qq
        # shellcheck disable=SC2086
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
        return 0
    fi
    echo "Windows are opened, and this system lacks:$lacking" >&2
    echo "Install them. On Debian and Ubuntu:" >&2
    echo "    sudo apt-get install" $packages >&2
    has_display || exit 1
    # A desktop may do without some of them: it is tried.
    if $demo; then echo "If no window appears: env -u DISPLAY -u WAYLAND_DISPLAY make demo" >&2; fi
}

if $demo && ! has_display; then exec "$@" --headless --out demo-output; fi
need_a_window
if $demo; then exec "$@" --out demo-output; fi
if has_display; then exec "$@"; fi
exec xvfb-run -a -s "-screen 0 1280x800x24" "$@"
