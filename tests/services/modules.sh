#!/bin/bash
# modules.sh install|start|status|stop: Debian's Environment Modules. There is no daemon: start installs, stop does nothing.
set -euo pipefail

install() {
    [ -e /usr/share/modules/init/bash ] && return 0
    apt-get update -q >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends environment-modules >/dev/null
}

case "${1:-}" in
install | start) install ;;
status) [ -e /usr/share/modules/init/bash ] ;;
stop) ;;
*) sed -n '2s/^# //p' "$0" >&2; exit 2 ;;
esac
