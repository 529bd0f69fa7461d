"""Training VALL-E: the loop, its configurations and its optimization. Never imports Beam."""
