"""Restock decisions of a home: the policy of each item, proposals for the ERP, the archive."""
