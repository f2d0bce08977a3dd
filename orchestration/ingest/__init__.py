"""Ingest: what arrives is typed, identified, split into accepted and quarantined, and kept for ever. Knows no Dagster.

contract reads what a table looks like, suites what a row must obey, landing where files lie, files what is in them;
validator turns rows into verdicts; batches commits them. Call `batches.ingest_table` once per table and run.
"""
