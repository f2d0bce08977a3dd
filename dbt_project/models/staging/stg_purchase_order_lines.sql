with latest_version as (
    {{ latest_version('purchase_order_lines') }}
)

select * from latest_version
