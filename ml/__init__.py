"""Models and decisions, frames in, frames out: no Dagster, no paths of ours, no environment, no HTTP."""
