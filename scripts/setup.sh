#!/bin/sh
# Sees to the tools that cargo does not bring: `scripts/setup.sh build` for building, `scripts/setup.sh test` for
# the tests as well, `scripts/setup.sh lab` for all that the lab plays with, too, `scripts/setup.sh newcomer` for a
# desktop without a screen. Installs what is missing where it may,
# says what to install where it may not. Says and does nothing when all is there.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
# Administrators' tools are off the path of ordinary users; rustup's are off the path of bare shells.
PATH="$PATH:/usr/sbin:/sbin:${CARGO_HOME:-$HOME/.cargo}/bin:$root/target/tools/cmake/data/bin"

main() {
    case "${1:-build}" in
        build) needed="$(build_tools)" useful="" ;;
        test) needed="$(build_tools)" useful="$(test_tools)" ;;
        lab) needed="$(build_tools)" useful="$(test_tools) miniupnpd" ;;
        newcomer) needed="$(build_tools)" useful="$(test_tools) $(desktop_tools)" ;;
        *) echo "usage: scripts/setup.sh [build|test|lab|newcomer]" >&2; exit 2 ;;
    esac
    if ! have cargo; then
        echo "Rust is missing: install it from https://rustup.rs, open a new shell and try again." >&2
        exit 1
    fi
    missing="$(absent $needed $useful)"
    [ -n "$missing" ] || return 0
    apt_install $missing
    if ! have cmake; then pip_cmake; fi

    missing="$(absent $useful)"
    if [ -n "$missing" ]; then
        echo "Some tests need $(listed $missing): $(advice $missing)" >&2
    fi
    missing="$(absent $needed)"
    if [ -n "$missing" ]; then
        echo "Cannot build without $(listed $missing): $(advice $missing)" >&2
        exit 1
    fi
}

# The C codec is built from source by cmake and whatever compiler it finds: on Windows that is not on the path.
build_tools() {
    if [ "$(platform)" = windows ]; then echo cmake; else echo cc make cmake; fi
}

# A sound server without hardware; network namespaces with firewalls, loss and delay; a terminal that a program can
# look at; the shells whose completions are tried. All of them are needed on Linux alone.
test_tools() {
    if [ "$(uname -s)" = Linux ]; then echo pulseaudio pactl nft ip ethtool conntrack tmux pgrep zsh fish; fi
}

# A desktop that nobody sees, and somebody who presses its keys.
desktop_tools() {
    if [ "$(uname -s)" = Linux ]; then echo Xvfb i3 xdotool; fi
}

have() { command -v "$1" >/dev/null 2>&1; }

absent() {
    for tool in "$@"; do
        have "$tool" || printf '%s ' "$tool"
    done
}

listed() { echo "$*" | sed 's/ /, /g'; }

platform() {
    case "$(uname -s)" in
        Darwin) echo macos ;;
        MINGW* | MSYS* | CYGWIN*) echo windows ;;
        *) if have apt-get; then echo debian; elif have dnf; then echo fedora; elif have pacman; then echo arch; else echo other; fi ;;
    esac
}

# The packages of `platform $1` that bring the tools `$2...`, each once.
packages() {
    on=$1
    shift
    for tool in "$@"; do
        case "$on-$tool" in
            debian-Xvfb) echo xvfb ;;
            fedora-Xvfb) echo xorg-x11-server-Xvfb ;;
            arch-Xvfb) echo xorg-server-xvfb ;;
            debian-i3) echo i3-wm ;;
            arch-i3) echo i3-wm ;;
            debian-miniupnpd) echo miniupnpd-nftables ;;
            fedora-conntrack | arch-conntrack) echo conntrack-tools ;;
            debian-cc) echo gcc libc6-dev ;;
            *-cc) echo gcc ;;
            debian-pactl | fedora-pactl) echo pulseaudio-utils ;;
            arch-pactl) echo libpulse ;;
            *-nft) echo nftables ;;
            debian-pgrep) echo procps ;;
            *-pgrep) echo procps-ng ;;
            fedora-ip) echo iproute ;;
            *-ip) echo iproute2 ;;
            *) echo "$tool" ;;
        esac
    done | tr ' ' '\n' | sort -u | tr '\n' ' ' | sed 's/ $//'
}

advice() {
    case "$(platform)" in
        debian) echo "install them with 'sudo apt-get install $(packages debian "$@")' and try again." ;;
        fedora) echo "install them with 'sudo dnf install $(packages fedora "$@")' and try again." ;;
        arch) echo "install them with 'sudo pacman -S $(packages arch "$@")' and try again." ;;
        macos) echo "run 'xcode-select --install' and 'brew install cmake', then try again." ;;
        windows) echo "run 'winget install Kitware.CMake Microsoft.VisualStudio.2022.BuildTools', add its C++ workload, then try again." ;;
        *) echo "install the packages $(packages other "$@") with your package manager and try again." ;;
    esac
}

# Quiet when it works, and no failure here is final: what is still missing is told at the end.
apt_install() {
    [ "$(platform)" = debian ] || return 0
    if [ "$(id -u)" = 0 ]; then as_root=""; elif sudo -n true 2>/dev/null; then as_root="sudo -n"; else return 0; fi
    wanted="$(packages debian "$@")"
    echo "Installing $wanted ..." >&2
    log=$(mktemp)
    # `env`, for sudo passes no variables on. Lists may be absent or old, so they are fetched before, and only now.
    if ! { $as_root apt-get update -qq && $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
        --no-install-recommends $wanted; } >"$log" 2>&1; then
        tail -n 3 "$log" >&2
    fi
    rm -f "$log"
}

# cmake as a Python package, inside the build directory; the Makefile has the same path.
pip_cmake() {
    have python3 || return 0
    echo "Fetching cmake for this build only ..." >&2
    if python3 -m pip install --quiet --disable-pip-version-check --target "$root/target/tools" --upgrade cmake >/dev/null 2>&1; then
        return 0
    fi
    # Distributions that keep pip out of the system's Python still have it in virtual environments.
    venv="$root/target/tools/venv"
    if python3 -m venv "$venv" >/dev/null 2>&1 && "$venv/bin/python" -m pip install --quiet \
        --disable-pip-version-check --target "$root/target/tools" --upgrade cmake >/dev/null 2>&1; then
        return 0
    fi
    rm -rf "$venv"
}

main "$@"
