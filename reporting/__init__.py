"""Reports: what a release holds, what was rejected and why, and what another limit would keep, as one page."""
