#!/bin/bash
# docker.sh install|start|status|stop|image NAME:TAG DIR: Debian's Docker engine, started as root on a socket of its own, with
# neither bridge nor iptables (containers run with --network none or host). `image` makes one from a root file system.
# Once started: export DOCKER_HOST=unix://$DOCKER_HOME/docker.sock (DOCKER_HOME: /var/tmp/bflow-docker unless set; where
# DOCKER_HOST is set, that engine is meant)
set -euo pipefail
home=${DOCKER_HOME:-/var/tmp/bflow-docker}
export DOCKER_HOST=${DOCKER_HOST:-unix://$home/docker.sock}

install() {
    command -v dockerd >/dev/null && return 0
    apt-get update -q >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends docker.io >/dev/null
}

start() {
    install
    mkdir -p "$home"
    docker version >/dev/null 2>&1 && return 0
    setsid dockerd --data-root "$home/data" --exec-root "$home/exec" --pidfile "$home/pid" --iptables=false \
        --ip6tables=false --bridge=none --storage-driver="${DOCKER_STORAGE:-overlay2}" -H "$DOCKER_HOST" \
        >"$home/log" 2>&1 </dev/null &
    for _ in $(seq 100); do
        docker version >/dev/null 2>&1 && return 0
        sleep 0.2
    done
    tail -n 5 "$home/log" >&2
    return 1
}

stop() {
    [ -s "$home/pid" ] || return 0
    pid=$(cat "$home/pid")
    kill "$pid" 2>/dev/null || return 0
    for _ in $(seq 100); do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.1
    done
}

case "${1:-}" in
install) install ;;
start) start ;;
status) docker version >/dev/null 2>&1 ;;
stop) stop ;;
image) tar -C "$3" -c . | docker import - "$2" ;;
*) sed -n '2,5s/^# //p' "$0" >&2; exit 2 ;;
esac
