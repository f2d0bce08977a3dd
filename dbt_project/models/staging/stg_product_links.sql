with latest_version as (
    {{ latest_version('product_links') }}
)

select * from latest_version
