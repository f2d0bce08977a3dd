with latest_version as (
    {{ latest_version('supplier_terms') }}
)

select * from latest_version
