"""The definitions of Dagster, and the only package that imports it: assets, checks, jobs, sensors, resources."""
