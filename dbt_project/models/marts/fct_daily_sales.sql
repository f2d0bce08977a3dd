with daily_sales as (
    select
        source,
        sku,
        location_id,
        day,
        units,
        revenue,
        document,
        occurred_at,
        counted_units,
        is_counted,
        ingested_at
    from {{ ref('int_daily_sales') }}
)

select * from daily_sales
