"""Where a build runs: local processes, Spark, Flink, Dataflow."""
