with prices as (
    select * from {{ source('raw', 'prices') }}
),

ranked as (
    select
        *,
        row_number() over (partition by sku, location_id, from_date order by batch_id desc, source_row desc) as version_rank
    from prices
),

latest_version as (
    select
        sku,
        location_id,
        from_date,
        to_date,
        unit_price,
        is_promotion,
        promotion_name,
        expected_uplift,
        batch_id,
        ingested_at,
        source_file,
        source_row
    from ranked
    where version_rank = 1
)

select * from latest_version
