#!/bin/sh
# Makes what people install, in target/dist: `scripts/package.sh tar [TARGET]` an archive with programs, manual pages
# and completions, `scripts/package.sh deb` a Debian package (needs cargo-deb). `make dist` makes both.
# `scripts/package.sh papers DIR` makes manual pages and completions alone; an archive for a target whose programs do
# not run here takes them from the directory that PAPERS names. `scripts/package.sh tag TAG` compares TAG with the
# version. `scripts/package.sh try PACKAGE...` unpacks these, runs them at an empty home, and compares what one who
# installs them sees with client/tests/screens/install_*.txt (`UPDATE_SCREENS=1` renews these); `scripts/package.sh all
# [TARGET]` makes both and tries them.
set -eu

cd "$(dirname "$0")/.."
out="${CARGO_TARGET_DIR:-target}"
dist="$out/dist"
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)

main() {
    case "${1:-}" in
        tar) archive "${2:-$(native)}" ;;
        deb) debian ;;
        papers)
            cargo build --locked --release -p voicechat
            papers "$out/release/voicechat" "$2"
            ;;
        tag)
            [ "$2" = "v$version" ] || { echo "the tag $2 is not the version, $version" >&2; exit 1; }
            ;;
        all) all "${2:-$(native)}" ;;
        try) shift; try "$@" ;;
        *) echo "usage: scripts/package.sh tar [TARGET] | deb | papers DIR | tag TAG | try PACKAGE... | all [TARGET]" >&2; exit 2 ;;
    esac
}

native() { rustc -vV | sed -n 's/^host: //p'; }

# Manual pages and completions come out of the program that they describe, so it has to run here.
papers() {
    program=$1
    into=$2
    mkdir -p "$into/man" "$into/completions"
    "$program" man "$into/man"
    "$program" completions bash > "$into/completions/voicechat"
    "$program" completions zsh > "$into/completions/_voicechat"
    "$program" completions fish > "$into/completions/voicechat.fish"
    "$program" completions powershell > "$into/completions/_voicechat.ps1"
}

archive() {
    target=$1
    cargo build --locked --release --target "$target" -p voicechat -p signaling -p relay
    built="$out/$target/release"
    name="voicechat-$version-$target"
    rm -rf "${dist:?}/$name"
    mkdir -p "$dist/$name"
    for program in voicechat voicechat-signaling voicechat-relay; do
        for file in "$built/$program" "$built/$program.exe"; do
            if [ -f "$file" ]; then cp "$file" "$dist/$name/"; fi
        done
    done
    cp README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE "$dist/$name/"
    if [ -n "${PAPERS:-}" ]; then
        cp -R "$PAPERS/man" "$PAPERS/completions" "$dist/$name/"
    else
        # Without them there is no archive.
        papers "$dist/$name/voicechat" "$dist/$name"
    fi
    tar -C "$dist" -czf "$dist/$name.tar.gz" "$name"
    (cd "$dist" && shasum "$name.tar.gz" > "$name.tar.gz.sha256")
    echo "$dist/$name.tar.gz"
}

shasum() { if command -v sha256sum >/dev/null; then sha256sum "$@"; else command shasum -a 256 "$@"; fi; }

# Of the same build as the archive.
debian() {
    target=$(native)
    cargo build --locked --release --target "$target" -p voicechat
    rm -rf "$out/$target/release/papers"
    papers "$out/$target/release/voicechat" "$out/$target/release/papers"
    # As Debian wants them; cargo-deb compresses nothing that comes out of a build.
    gzip -9n "$out/$target/release/papers/man/"*.1
    mkdir -p "$dist"
    cargo deb -p voicechat --target "$target" --no-build --no-strip --output "$dist/"
}

all() {
    archive "$1"
    set -- "$dist/voicechat-$version-$1.tar.gz"
    if cargo deb --version >/dev/null 2>&1; then
        rm -f "$dist"/*.deb
        debian
        set -- "$@" "$dist"/*.deb
    else
        echo "SKIPPED: the Debian package, for cargo-deb is not installed ('cargo install cargo-deb')."
    fi
    try "$@"
}

# With nothing of this machine but its C library.
try() {
    [ "$#" -gt 0 ] || { echo "no package to try" >&2; exit 2; }
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    for package in "$@"; do
        basename "$package"
        into="$work/unpacked"
        mkdir "$into" "$work/home"
        case "$package" in
            *.deb) dpkg-deb -x "$package" "$into" ;;
            *) tar -C "$into" -xzf "$package" ;;
        esac
        for wanted in voicechat.1 voicechat-ctl.1 _voicechat voicechat.fish; do
            found=$(find "$into" -type f \( -name "$wanted" -o -name "$wanted.gz" \) | head -n 1)
            [ -n "$found" ] || { echo "there is no $wanted in it" >&2; exit 1; }
            echo "  ${found#"$into"/}"
        done
        program=$(find "$into" -type f \( -name voicechat -o -name voicechat.exe \) -perm -u+x | head -n 1)
        [ -n "$program" ] || { echo "there is no program in it" >&2; exit 1; }
        # Only what is for another system may fail to start.
        case "$package" in *"$(native).tar.gz" | *.deb) here=yes ;; *) here= ;; esac
        if [ -z "$here" ] && ! env -i HOME="$work/home" "$program" --version >/dev/null 2>&1; then
            echo "SKIPPED: running it, for it is for another system"
        else
            env -i HOME="$work/home" "$program" --version >"$work/demo"
            sed 's/^/  /' "$work/demo"
            env -i HOME="$work/home" "$program" demo --seconds 8 >"$work/demo" 2>&1 || { cat "$work/demo" >&2; exit 1; }
            echo "  two friends talk"
            case "$program" in *.exe) ;; *) seen "$package" ;; esac
        fi
        rm -r "${into:?}" "${work:?}/home"
    done
}

# What a person sees who installs it, typed into a shell with an empty home.
seen() {
    case "$1" in
        *.deb) kind=deb ;;
        *) kind=archive ;;
    esac
    kept="client/tests/screens/install_$kind.txt"
    rm -rf "${work:?}/home"
    mkdir "$work/home"
    cp "$1" "$work/home/"
    file=$(basename "$1")
    "session_$kind" "$file" | (cd "$work/home" && env -i HOME="$work/home" PATH=/usr/bin:/bin LC_ALL=C sh -c '
        while IFS= read -r line; do
            echo "\$ $line"
            eval "$line" </dev/null 2>&1
        done') | sed "s|voicechat-$version-[a-z0-9_-]*|voicechat-VERSION-TARGET|g; s|voicechat_[^ ]*deb|voicechat_VERSION.deb|g; s|$version|VERSION|g" > "$work/seen"
    if [ -n "${UPDATE_SCREENS:-}" ]; then cp "$work/seen" "$kept"; fi
    diff -u "$kept" "$work/seen" || { echo "$kept: that is not what was kept" >&2; exit 1; }
    echo "  a newcomer sees what $kept shows"
}

session_archive() {
    echo "tar -xzf $1"
    echo "cd ${1%.tar.gz}"
    echo 'find . -type f | sort'
    echo 'PATH="$PWD:$PATH"'
    rest man completions/voicechat
}

# Without the rights to install it: into a directory.
session_deb() {
    echo "dpkg-deb -x $1 ."
    echo 'find * -type f ! -name "*.deb" | sort'
    echo 'PATH="$PWD/usr/bin:$PATH"'
    rest usr/share/man/man1 usr/share/bash-completion/completions/voicechat
}

rest() {
    echo 'voicechat'
    echo 'voicechat --version'
    # How shells of other versions complete the rest differs.
    echo "bash -c '. ./$2; complete -p voicechat' | grep -o '_voicechat voicechat'"
    echo "cat $1/voicechat.1* | gzip -cdf | grep '^.TH'"
}

main "$@"
