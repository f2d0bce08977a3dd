"""One build of the warehouse: what surrounds dbt, its exports, and frames read from them."""
