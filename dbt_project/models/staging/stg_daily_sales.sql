-- Each delivered code has its own total: codes that were mapped to one item add up.
with latest_version as (
    {{ latest_version('daily_sales', key='delivered_key') }}
),

added_up as (
    select
        source,
        sku,
        location_id,
        day,
        cast(sum(units) as decimal(18, 3)) as units,
        cast(sum(revenue) as decimal(18, 4)) as revenue,
        max(batch_id) as batch_id,
        arg_max(ingested_at, row(batch_id, source_row)) as ingested_at,
        arg_max(source_file, row(batch_id, source_row)) as source_file,
        arg_max(source_row, row(batch_id, source_row)) as source_row
    from latest_version
    group by source, sku, location_id, day
)

select * from added_up
