#!/bin/bash
# image.sh docker NAME:TAG | apptainer FILE.sif: an image with the few commands of MRtrix3 that this example calls, made
# of what is installed on this machine (Debian: apt-get install mrtrix3). No registry is asked.
set -euo pipefail
kind=${1:-} image=${2:-}
case $kind:$image in
  docker:?* | apptainer:?*) ;;
  *) echo "usage: $0 docker NAME:TAG | apptainer FILE.sif" >&2; exit 2 ;;
esac

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

# copy FILE…: each with the shared libraries that it needs, at the same path; a link with what it leads to.
copy() {
  local file real library
  for file; do
    real=$(readlink -f "$file")
    for library in "$real" $(ldd "$real" | grep -o '/[^ ]*'); do
      mkdir -p "$root${library%/*}"
      cp -L "$library" "$root$library"
    done
    [ -e "$root$file" ] || { mkdir -p "$root${file%/*}" && ln -s "$real" "$root$file"; }
  done
}

for command in mrgrid mrconvert dwidenoise mrdegibbs dwi2tensor tensor2metric; do
  path=$(command -v $command) || { echo "$command is not here: apt-get install mrtrix3" >&2; exit 1; }
  copy "$path"
done
for command in sh bash cat env sleep mkdir; do
  copy "/bin/$command"
done
mkdir -p "$root"/{dev,etc,proc,root,sys,home} && mkdir -p -m 1777 "$root"/{tmp,var/tmp}
echo 'root:x:0:0:root:/root:/bin/sh' > "$root/etc/passwd"
echo 'root:x:0:' > "$root/etc/group"
touch "$root"/etc/{hosts,resolv.conf,localtime}

case $kind in
  docker) tar -C "$root" -c . | "${DOCKER:-docker}" import - "$image" ;;
  apptainer) apptainer build --force "$image" "$root" ;;
esac
