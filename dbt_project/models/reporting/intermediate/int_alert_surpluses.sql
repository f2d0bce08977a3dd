with dead_stock as (
    select * from {{ ref('risk_dead_stock') }}
),

excess_stock as (
    select * from {{ ref('risk_excess_stock') }}
),

expiring_lots as (
    select * from {{ ref('risk_expiring_lots') }}
),

item_locations as (
    select * from {{ ref('dim_item_locations') }}
),

records as (
    select sku, location_id, is_negative or suspected_kind is not null as is_record_doubtful
    from {{ ref('int_restock_records') }}
),

surpluses as (
    select
        'dead_stock' as kind,
        'no_demand' as cause,
        sku,
        location_id,
        as_of_date,
        {{ add_days('coalesce(last_demand_date, active_from)', 'dead_after_days') }} as from_date,
        free_units as units,
        money_per_day,
        concat('No demand for ', days_without_demand, ' days: mark it down, return it or write it off.') as cure
    from dead_stock
    union all by name
    select
        'excess_stock' as kind,
        case when excess_stock.inventory_position_units > excess_stock.on_hand_units then 'too_much_on_order' else 'too_much_on_hand' end as cause,
        excess_stock.sku,
        excess_stock.location_id,
        excess_stock.as_of_date,
        excess_stock.as_of_date as from_date,
        excess_stock.excess_units as units,
        excess_stock.money_per_day,
        case
            when excess_stock.inventory_position_units > excess_stock.on_hand_units
                then concat(
                    'Cancel or postpone up to ',
                    {{ number_text('least(excess_stock.excess_units, excess_stock.inventory_position_units - excess_stock.on_hand_units)') }},
                    ' of what is on order.'
                )
            else 'Move it to a place that sells it, or mark it down.'
        end as cure
    from excess_stock
    left join dead_stock
        on excess_stock.sku = dead_stock.sku and excess_stock.location_id = dead_stock.location_id
    where dead_stock.sku is null
    union all by name
    select
        'expiring_stock' as kind,
        'expires_before_it_sells' as cause,
        sku,
        location_id,
        lot_id,
        as_of_date,
        expires_date as from_date,
        unsold_units as units,
        money_per_day,
        concat('Sell lot ', lot_id, ' first, or mark it down before ', {{ day_text('expires_date') }}, '.') as cure
    from expiring_lots
),

priced as (
    select
        surpluses.kind,
        case when records.is_record_doubtful then 'count_first' else surpluses.cause end as cause,
        surpluses.sku,
        surpluses.location_id,
        item_locations.supplier_id,
        surpluses.lot_id,
        surpluses.as_of_date,
        surpluses.from_date,
        surpluses.units,
        surpluses.money_per_day,
        case
            when records.is_record_doubtful then 'The record is doubtful: count the shelf first.' else surpluses.cure
        end as cure
    from surpluses
    inner join item_locations
        on surpluses.sku = item_locations.sku and surpluses.location_id = item_locations.location_id
    left join records on surpluses.sku = records.sku and surpluses.location_id = records.location_id
)

select * from priced
