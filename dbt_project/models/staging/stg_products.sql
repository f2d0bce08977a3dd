with latest_version as (
    {{ latest_version('products') }}
)

select * from latest_version
