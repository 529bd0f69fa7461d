#!/bin/sh
# Starts Beam's Flink job server from Maven's libraries, for places where its released jar cannot be fetched.
#
#   deploy/flink/job_server.sh [FLINK_MASTER]        HOST:PORT of Flink's REST; default: [local], a Flink inside the job server
#
# Then: voxbeam build … --runner=PortableRunner --job_endpoint=127.0.0.1:8099 (docs/spark.md). Needs Java 17 and Maven.
set -eu
cd "$(dirname "$0")"
lib="$(../libraries.sh flink)"

opens=""
for package in java.lang java.lang.invoke java.io java.net java.nio java.util java.util.concurrent java.util.concurrent.atomic \
  java.text java.time sun.nio.ch; do
  opens="$opens --add-opens=java.base/$package=ALL-UNNAMED"
done

# shellcheck disable=SC2086 (one word per option is meant)
exec java $opens -Xmx"${VOXBEAM_FLINK_MEMORY:-2g}" \
  -cp "$lib/*" org.apache.beam.runners.flink.FlinkJobServerDriver \
  --job-port="${VOXBEAM_JOB_PORT:-8099}" --artifact-port="${VOXBEAM_ARTIFACT_PORT:-8098}" --expansion-port=0 \
  --flink-master="${1:-[local]}"
