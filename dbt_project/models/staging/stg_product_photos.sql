with latest_version as (
    {{ latest_version('product_photos') }}
)

select * from latest_version
