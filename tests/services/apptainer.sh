#!/bin/bash
# apptainer.sh install|start|status|stop|image FILE.sif DIR: Apptainer on Debian 12. There is no daemon: start installs, stop
# does nothing. `image` makes one from a root file system, with no registry asked.
# The package is in Debian's unstable suite only and wants a newer libc; so it is unpacked with the libraries that it
# needs beside the system's, and nothing of the system is upgraded.
set -euo pipefail
libraries=/opt/apptainer/lib
work=${APPTAINER_WORK:-/var/tmp/bflow-apptainer}

install() {
    if command -v apptainer >/dev/null && apptainer --version >/dev/null 2>&1; then return 0; fi
    [ "$(dpkg --print-architecture)" = amd64 ] || { echo "apptainer.sh knows amd64 only" >&2; return 1; }
    mkdir -p "$work"/{lists/partial,debs,root} "$libraries"
    # the mirror that this machine uses, asked for another suite
    mirror=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources | head -n 1)
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" >"$work/sid.list"
    options=(-o "Dir::State::Lists=$work/lists" -o "Dir::Etc::SourceList=$work/sid.list" -o Dir::Etc::SourceParts=/dev/null
        -o APT::Sandbox::User=root)
    apt-get "${options[@]}" update -q >/dev/null
    (cd "$work/debs" && apt-get "${options[@]}" download -q apptainer libc6 libseccomp2 libsqlite3-0 squashfs-tools \
        liblzma5 libzstd1 zlib1g liblzo2-2 liblz4-1 >/dev/null)
    if ! dpkg -s patchelf squashfuse >/dev/null 2>&1; then
        apt-get update -q >/dev/null
        DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends patchelf squashfuse >/dev/null
    fi
    for deb in "$work"/debs/*.deb; do dpkg -x "$deb" "$work/root"; done
    usr=$work/root/usr
    cp -a "$usr"/lib/x86_64-linux-gnu/*.so* "$libraries"/
    for binary in bin/apptainer lib/x86_64-linux-gnu/apptainer/bin/starter bin/mksquashfs bin/unsquashfs; do
        patchelf --set-interpreter "$libraries/ld-linux-x86-64.so.2" --force-rpath --set-rpath "$libraries" "$usr/$binary"
    done
    cp -a "$work/root/etc/apptainer" /etc/
    # root in a virtual machine or a container may lack a capability or two; asking for all of them fails then
    sed -i 's/^root default capabilities = .*/root default capabilities = no/' /etc/apptainer/apptainer.conf
    cp -a "$usr/lib/x86_64-linux-gnu/apptainer" /usr/lib/x86_64-linux-gnu/
    cp -a "$usr/bin/apptainer" "$usr/bin/mksquashfs" "$usr/bin/unsquashfs" /usr/bin/
    ln -sf /usr/bin/apptainer /usr/bin/singularity # the name that spython looks for
    mkdir -p /var/lib/apptainer/mnt/session
    apptainer --version >/dev/null
}

case "${1:-}" in
install | start) install ;;
status) apptainer --version >/dev/null 2>&1 ;;
stop) ;;
image) apptainer --quiet build --force "$2" "$3" >/dev/null ;;
*) sed -n '2,3s/^# //p' "$0" >&2; exit 2 ;;
esac
