with reservations as (
    select * from {{ ref('stg_reservations') }}
),

item_locations as (
    select * from {{ ref('dim_item_locations') }}
),

supplier_terms as (
    select * from {{ ref('int_preferred_supplier_terms') }}
),

as_of as (
    select * from {{ ref('int_as_of') }}
),

known as (
    select
        reservations.sku,
        reservations.location_id,
        reservations.document,
        reservations.reserved_units,
        reservations.backordered_units,
        reservations.due_date,
        cast({{ days_between('as_of.as_of_date', 'reservations.due_date') }} as integer) as days_until_due,
        coalesce(supplier_terms.lead_time_days, 0) as lead_time_days
    from reservations
    cross join as_of
    inner join item_locations
        on reservations.sku = item_locations.sku and reservations.location_id = item_locations.location_id
    left join supplier_terms
        on reservations.sku = supplier_terms.sku and reservations.location_id = supplier_terms.location_id
),

-- Nobody waits for ever: what an order of the due day would have brought a month ago has been met, or is wanted no more.
dated as (
    select
        sku,
        location_id,
        document,
        reserved_units,
        backordered_units,
        due_date,
        days_until_due,
        coalesce(-days_until_due > {{ promise_grace_days() }} + lead_time_days, false) as is_doubtful
    from known
)

select * from dated
