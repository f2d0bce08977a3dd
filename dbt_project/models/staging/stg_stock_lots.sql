with latest_version as (
    {{ latest_version('stock_lots') }}
)

select * from latest_version
