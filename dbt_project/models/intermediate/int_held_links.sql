{{ config(materialized='ephemeral') }}

with judged as (
    select * from {{ ref('int_judged_links') }}
),

held_links as (
    select
        'product_links' as table_name, batch_id, ingested_at, source_file, source_row,
        concat_ws(',', sku, predecessor_sku, from_date, share) as original_text,
        rule,
        coalesce(unknown_sku, case when rule = 'link_shares' then predecessor_sku else sku end) as sku,
        cast(null as varchar) as location_id, cast(null as varchar) as supplier_id, cast(null as varchar) as category,
        cast(null as timestamp with time zone) as occurred_at
    from judged
    where rule is not null
)

select * from held_links
