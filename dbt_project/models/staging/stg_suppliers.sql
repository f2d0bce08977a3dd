with suppliers as (
    select * from {{ source('raw', 'suppliers') }}
),

ranked as (
    select
        *,
        row_number() over (partition by supplier_id order by batch_id desc, source_row desc) as version_rank
    from suppliers
),

latest_version as (
    select
        supplier_id,
        supplier_name,
        minimum_order_value,
        fixed_order_cost,
        review_period_days,
        order_weekdays,
        batch_id,
        ingested_at,
        source_file,
        source_row
    from ranked
    where version_rank = 1
)

select * from latest_version
