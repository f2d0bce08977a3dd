with supplier_terms as (
    select * from {{ source('raw', 'supplier_terms') }}
),

ranked as (
    select
        *,
        row_number() over (partition by sku, location_id, supplier_id, batch_id order by source_row desc) as place
    from supplier_terms
),

versions as (
    select
        sku,
        location_id,
        supplier_id,
        unit_cost,
        priority,
        valid_to,
        coalesce(is_ended, false) as is_ended,
        batch_id,
        ingested_at
    from ranked
    where place = 1 and (is_ended is null or {{ published_by_now('ingested_at') }})
)

select * from versions
