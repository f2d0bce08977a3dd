with item_locations as (
    select * from {{ ref('dim_item_locations') }}
),

replenishment_terms as (
    select * from {{ ref('fct_replenishment_terms') }}
),

positions as (
    select * from {{ ref('fct_stock_position') }}
),

successions as (
    select * from {{ ref('int_restock_successions') }}
),

-- Terms that were quarantined, as for a lead time of 0, leave their item here too.
unsupplied as (
    select item_locations.sku, item_locations.location_id, positions.as_of_date
    from item_locations
    inner join positions
        on item_locations.sku = positions.sku and item_locations.location_id = positions.location_id
    left join replenishment_terms
        on item_locations.sku = replenishment_terms.sku and item_locations.location_id = replenishment_terms.location_id
    left join successions
        on item_locations.sku = successions.sku and item_locations.location_id = successions.location_id
    where item_locations.is_active and replenishment_terms.sku is null and not coalesce(successions.is_replaced, false)
)

select * from unsupplied
