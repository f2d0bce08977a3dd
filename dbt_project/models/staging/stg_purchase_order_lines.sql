with purchase_order_lines as (
    select * from {{ source('raw', 'purchase_order_lines') }}
),

ranked as (
    select
        *,
        row_number() over (partition by purchase_order_id, line order by batch_id desc, source_row desc) as version_rank
    from purchase_order_lines
),

latest_version as (
    select
        purchase_order_id,
        line,
        supplier_id,
        sku,
        location_id,
        ordered_at,
        confirmed_at,
        expected_date,
        ordered_units,
        received_units,
        received_at,
        status,
        proposal_id,
        batch_id,
        ingested_at,
        source_file,
        source_row
    from ranked
    where version_rank = 1
)

select * from latest_version
