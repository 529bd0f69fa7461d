#!/bin/sh
# Fetches the libraries of Spark and of Beam's job server from Maven (300 MB, once, whole or not at all) and prints their folder.
set -eu
cd "$(dirname "$0")"
lib="${VOXBEAM_SPARK_LIB:-$PWD/lib}"
if [ ! -d "$lib" ]; then
  part="$(mktemp -d "$lib.XXXXXX")"
  trap 'rm -rf "$part"' EXIT
  mvn --quiet --batch-mode dependency:copy-dependencies -DoutputDirectory="$part" >&2
  chmod 755 "$part"
  mv "$part" "$lib"
fi
echo "$lib"
