"""Schema versions of the online store, one file each, applied in order by `Store.migrate`."""
