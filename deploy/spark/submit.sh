#!/bin/sh
# Submits a job that `voxbeam build … --output_executable_path=job.jar` has written, to a cluster that has Spark and not Beam.
#
#   SPARK_HOME=/usr/lib/spark deploy/spark/submit.sh job.jar --master yarn --deploy-mode cluster      (options of spark-submit)
#
# Sends Beam's libraries along, which libraries.sh fetches. docs/spark.md says when it is needed.
set -eu
job="$1"
shift
lib="$("$(dirname "$0")/../libraries.sh" spark)"

jars=""
for jar in "$lib"/*.jar; do
  name="$(basename "$jar" | sed 's/-[0-9].*//')"
  case "$name" in
    beam-runners-spark) ;; # is in the job's own jar, where it must find the job
    beam-sdks-java-extensions-google-*) ;; # wants a newer Guava than Spark's
    beam-* | args4j | byte-buddy | classgraph | joda-time) jars="$jars,$jar" ;;
  esac
done

exec "$SPARK_HOME"/bin/spark-submit --jars "${jars#,}" --conf spark.serializer=org.apache.spark.serializer.KryoSerializer \
  --class org.apache.beam.runners.spark.SparkPipelineRunner "$@" "$job"
