#!/bin/sh
# Fetches the libraries of a cluster and of Beam's job server for it from Maven (once; all of them or none) and prints their folder.
#
#   deploy/libraries.sh spark|flink        300 MB, 150 MB
set -eu
cd "$(dirname "$0")/$1"
case "$1" in
  spark) lib="${VOXBEAM_SPARK_LIB:-$PWD/lib}" ;;
  flink) lib="${VOXBEAM_FLINK_LIB:-$PWD/lib}" ;;
esac
if [ ! -d "$lib" ]; then
  part="$(mktemp -d "$lib.XXXXXX")"
  trap 'rm -rf "$part"' EXIT
  mvn --quiet --batch-mode dependency:copy-dependencies -DoutputDirectory="$part" >&2
  chmod 755 "$part"
  mv "$part" "$lib"
fi
echo "$lib"
