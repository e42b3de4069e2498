#!/bin/bash
# real_project.sh PACKAGE FOLDER: the upstream sources of PACKAGE as Debian has them, in FOLDER (which must not exist).
#
# Uses the package servers that this machine is set up for, by a configuration of its own in a temporary folder: the
# machine's own lists and settings stay as they are, and it needs no root. Ends with 77 where there is no apt.
set -euo pipefail

package=$1
folder=$(realpath -m "$2")

command -v apt-get >/dev/null || { echo "no apt-get here" >&2; exit 77; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{parts,lists/partial,cache/archives/partial,source}

# The same sources for "deb-src" instead of "deb", in both formats that apt reads.
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
  [ -f "$file" ] && sed -n -E 's/^deb[[:space:]]/deb-src /p' "$file" >> "$work/parts/all.list"
done
for file in /etc/apt/sources.list.d/*.sources; do
  [ -f "$file" ] && sed -E 's/^Types:.*/Types: deb-src/' "$file" > "$work/parts/$(basename "$file")"
done

apt() {
  apt-get -q -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$work/parts" \
    -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache" -o APT::Sandbox::User="$(id -un)" \
    -o Acquire::Retries=2 -o Acquire::http::Timeout=30 "$@" >&2
}

apt update || echo "some package servers have no sources" >&2
cd "$work/source"
apt source --download-only --only-source "$package"
mkdir "$folder"
tar -xf ./*.orig.tar.* --strip-components=1 -C "$folder"
