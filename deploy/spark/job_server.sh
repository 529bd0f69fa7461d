#!/bin/sh
# Starts Beam's Spark job server from Maven's libraries, for places where its released jar cannot be fetched.
#
#   deploy/spark/job_server.sh [SPARK_MASTER_URL]        default: local[*]
#
# Then: voxbeam build … --runner=PortableRunner --job_endpoint=127.0.0.1:8099 (docs/spark.md). Needs Java 17 and Maven.
set -eu
cd "$(dirname "$0")"
master="${1:-local[*]}"
lib="$(../libraries.sh spark)"

opens=""
for package in java.lang java.lang.invoke java.io java.net java.nio java.util java.util.concurrent java.util.concurrent.atomic \
  sun.nio.ch sun.nio.cs sun.security.action sun.util.calendar; do
  opens="$opens --add-opens=java.base/$package=ALL-UNNAMED"
done

# Only a lost worker fails a task, never a recording; a long job can lose more than the default of four.
# shellcheck disable=SC2086 (one word per option is meant)
exec java $opens -Xmx"${VOXBEAM_SPARK_MEMORY:-2g}" \
  -Dspark.serializer=org.apache.spark.serializer.KryoSerializer \
  -Dspark.default.parallelism="${VOXBEAM_SPARK_PARALLELISM:-$(nproc)}" \
  -Dspark.task.maxFailures=20 \
  -Dspark.executor.extraJavaOptions="$opens" \
  -cp "$lib/*" org.apache.beam.runners.spark.SparkJobServerDriver \
  --job-port="${VOXBEAM_JOB_PORT:-8099}" --artifact-port="${VOXBEAM_ARTIFACT_PORT:-8098}" --expansion-port=0 \
  --spark-master-url="$master"
