"""The only place that knows Dagster: definitions, resources, assets, jobs, the command line. No arithmetic."""
