"""Ingest: what arrives is typed, identified, split into accepted and quarantined, and kept for ever. Knows no Dagster.

contracts reads what a table looks like, rules what a row must obey, landing where files lie, files what is in them;
split turns rows into verdicts; arrivals commits batches. Call `arrivals.ingest_table` once per table and run.
"""
