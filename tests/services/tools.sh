#!/bin/bash
# tools.sh install: the programs that some examples and rules of the library call, from Debian's packages, as root.
# What is there already is left alone.
set -euo pipefail

install() {
  local missing=() pair
  for pair in bwa:bwa samtools:samtools bcftools:bcftools mrgrid:mrtrix3 pdflatex:texlive-latex-base; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || { echo "no apt-get here; missing: ${missing[*]}" >&2; return 77; }
  apt-get update -q >/dev/null
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null
}

case "${1:-}" in
  install) install ;;
  *) echo "usage: $0 install" >&2; exit 2 ;;
esac
