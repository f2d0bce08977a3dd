with reservations as (
    select * from {{ ref('stg_reservations') }}
),

item_locations as (
    select * from {{ ref('dim_item_locations') }}
),

supplier_terms as (
    select * from {{ ref('int_preferred_supplier_terms') }}
),

daily_balances as (
    select * from {{ ref('int_daily_balances') }}
),

spans as (
    select * from {{ ref('int_item_location_spans') }}
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

-- Days after the due day on which the shelf held what is still owed. An empty shelf ages no promise.
served as (
    select known.sku, known.location_id, known.document, count(*) as days_in_stock
    from known
    inner join spans on known.sku = spans.sku and known.location_id = spans.location_id
    inner join daily_balances
        on
            known.sku = daily_balances.sku
            and known.location_id = daily_balances.location_id
            and daily_balances.day > known.due_date
    where
        daily_balances.closing_units >= known.backordered_units
        or coalesce(daily_balances.day < spans.stock_known_from, true)
    group by known.sku, known.location_id, known.document
),

-- Nobody waits for ever: what could have been met a month ago, with what an order of the due day brought, has been met, or is
-- wanted no more.
dated as (
    select
        known.sku,
        known.location_id,
        known.document,
        known.reserved_units,
        known.backordered_units,
        known.due_date,
        known.days_until_due,
        coalesce(
            case when known.backordered_units > 0 then coalesce(served.days_in_stock, 0) else -known.days_until_due end
            > {{ promise_grace_days() }} + known.lead_time_days,
            false
        ) and known.due_date is not null as is_doubtful
    from known
    left join served
        on known.sku = served.sku and known.location_id = served.location_id and known.document = served.document
)

select * from dated
