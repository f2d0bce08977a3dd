"""The only place that knows Dagster: definitions, resources, assets, jobs and the command line. No arithmetic."""
