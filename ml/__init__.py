"""Models and decisions: frames in, frames out. Knows no Dagster, no paths of ours, no environment, no HTTP."""
