with latest_version as (
    {{ latest_version('purchase_order_lines', keep_ended=true) }}
)

select * from latest_version
