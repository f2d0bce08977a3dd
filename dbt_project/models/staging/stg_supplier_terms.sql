with supplier_terms as (
    select * from {{ source('raw', 'supplier_terms') }}
),

ranked as (
    select
        *,
        row_number() over (partition by sku, location_id, supplier_id order by batch_id desc, source_row desc) as version_rank
    from supplier_terms
),

latest_version as (
    select
        sku,
        location_id,
        supplier_id,
        lead_time_days,
        moq_units,
        order_multiple_units,
        unit_cost,
        priority,
        batch_id,
        ingested_at,
        source_file,
        source_row
    from ranked
    where version_rank = 1
)

select * from latest_version
