with reservations as (
    select * from {{ ref('stg_reservations') }}
),

item_locations as (
    select * from {{ ref('dim_item_locations') }}
),

known as (
    select
        reservations.sku,
        reservations.location_id,
        reservations.document,
        reservations.reserved_units,
        reservations.backordered_units,
        reservations.due_date
    from reservations
    inner join item_locations
        on reservations.sku = item_locations.sku and reservations.location_id = item_locations.location_id
)

select * from known
