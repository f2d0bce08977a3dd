"""What Dagster is told, and the only place that knows it: assets, checks, jobs, sensors, resources."""
