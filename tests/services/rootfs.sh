#!/bin/bash
# rootfs.sh DIR [python] [bash]: a small root file system to make test images from, with no registry asked: busybox, and
# where wanted this machine's python3 and bash with the libraries that they need.
set -euo pipefail

usage() { sed -n '2,3s/^# //p' "$0" >&2; exit 2; }
[ $# -ge 1 ] || usage
root=$1; shift

install() { # PACKAGE…
    apt-get update -q >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >/dev/null
}

program() { # PATH: a program, and the libraries that it is linked with, at the same places
    mkdir -p "$root$(dirname "$1")"
    cp -L "$1" "$root$1"
    libraries "$1"
}

libraries() {
    { ldd "$1" 2>/dev/null | grep -o '/[^ ]*' || true; } | while read -r library; do
        mkdir -p "$root$(dirname "$library")"
        [ -e "$root$library" ] || cp -L "$library" "$root$library"
    done
}

command -v busybox >/dev/null && ! ldd "$(command -v busybox)" >/dev/null 2>&1 || install busybox-static
mkdir -p "$root"/{bin,etc,tmp,proc,sys,dev,var/tmp,root,home}
cp "$(command -v busybox)" "$root/bin/busybox"
for applet in $("$root/bin/busybox" --list); do
    [ -e "$root/bin/$applet" ] || ln -s busybox "$root/bin/$applet"
done
echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
echo 'root:x:0:' >"$root/etc/group"
touch "$root"/etc/{hosts,resolv.conf,localtime}
chmod 1777 "$root/tmp" "$root/var/tmp"

for what in "$@"; do
    case $what in
    bash) program /bin/bash ;;
    python)
        [ -x /usr/bin/python3 ] || install python3-minimal
        python=$(readlink -f /usr/bin/python3)
        program "$python"
        ln -sf "$(basename "$python")" "$root/usr/bin/python3"
        library=/usr/lib/$(basename "$python")
        mkdir -p "$root$library"
        tar -C "$library" --exclude=test --exclude=__pycache__ --exclude='config-*' --exclude=dist-packages \
            --exclude=idlelib --exclude=ensurepip --exclude=lib2to3 -c . | tar -C "$root$library" -x
        for extension in "$library"/lib-dynload/*.so; do libraries "$extension"; done
        ;;
    *) usage ;;
    esac
done
