with moves as (
    select * from {{ source('predictions', 'stock_transfers') }}
),

transfer_proposals as (
    select * from {{ source('predictions', 'transfer_proposals') }}
),

products as (
    select * from {{ ref('dim_products') }}
),

locations as (
    select * from {{ ref('dim_locations') }}
),

lanes as (
    select * from {{ ref('dim_transfer_lanes') }}
),

recommendations as (
    select * from {{ ref('restock_recommendations') }}
),

item_locations as (
    select * from {{ ref('dim_item_locations') }}
),

-- What this run would move, under its proposal; a day that is looked back at proposes nothing.
proposed as (
    select
        transfer_proposals.proposal_id, 'proposed' as state, moves.sku, moves.from_location_id, moves.to_location_id, moves.as_of_date,
        {{ units('moves.units') }} as transfer_units, lanes.unit_cost, lanes.lead_time_days,
        {{ add_days('moves.as_of_date', 'moves.arrival_period') }} as expected_arrival_date,
        {{ add_days('moves.as_of_date', 'moves.stockout_period_50') }} as stockout_date,
        {{ add_days('moves.as_of_date', 'moves.stockout_period_10') }} as early_stockout_date,
        {{ add_days('moves.as_of_date', 'moves.supplier_arrival_period') }} as supplier_arrival_date,
        {{ units('moves.short_units') }} as short_units,
        {{ units('moves.from_free_units') }} as from_free_units,
        {{ units('moves.from_kept_units') }} as from_kept_units,
        nullif(moves.from_cover_periods, cast('nan' as double)) as from_days_of_cover_after,
        {{ units('moves.lost_units_avoided') }} as lost_units_avoided,
        {{ units('moves.unbought_units') }} as unbought_units,
        transfer_proposals.decided_until
    from moves
    inner join lanes on moves.from_location_id = lanes.from_location_id and moves.to_location_id = lanes.to_location_id
    left join transfer_proposals
        on
            moves.sku = transfer_proposals.sku and moves.from_location_id = transfer_proposals.from_location_id
            and moves.to_location_id = transfer_proposals.location_id and transfer_proposals.state = 'proposed'
    where not moves.is_rejected
),

decided as (
    select
        proposal_id, state, sku, from_location_id, location_id as to_location_id, proposed_for_date as as_of_date,
        {{ units('order_units') }} as transfer_units,
        cast(nullif(unit_cost, cast('nan' as double)) as decimal(18, 4)) as unit_cost,
        order_by_date, expected_date as expected_arrival_date, cause, nearly_matched, rejected_until_date,
        {{ units('rejected_until_units') }} as rejected_until_units,
        {{ units('acknowledged_units') }} as acknowledged_units, {{ units('adjusted_units') }} as adjusted_units, adjusted_by,
        {{ units('shipped_units') }} as shipped_units,
        {{ units('received_units') }} as received_units, decided_until
    from transfer_proposals
    where state <> 'proposed'
),

-- It leaves in time while a stock-out before its arrival is unlikely, and no later than before the next chance to order.
dated as (
    select
        proposed.*,
        greatest(
            {{ add_days('proposed.as_of_date', 1) }},
            least(
                coalesce({{ add_days('proposed.early_stockout_date', '-proposed.lead_time_days') }}, recommendations.next_order_date),
                {{ add_days('recommendations.next_order_date', 'recommendations.review_period_days - 1') }}
            )
        ) as order_by_date,
        recommendations.unit_cost as bought_unit_cost,
        recommendations.pack_units,
        recommendations.order_multiple_source,
        greatest(item_locations.unit_price - recommendations.unit_cost, 0) * proposed.lost_units_avoided as lost_margin_avoided
    from proposed
    inner join recommendations
        on proposed.sku = recommendations.sku and proposed.to_location_id = recommendations.location_id
    left join item_locations on proposed.sku = item_locations.sku and proposed.to_location_id = item_locations.location_id
),

every as (
    select * from dated
    union all by name
    select * from decided
),

described as (
    select
        every.proposal_id, every.state, every.sku, products.product_name, products.unit_of_measure, every.from_location_id,
        origins.location_name as from_location_name, every.to_location_id, goals.location_name as to_location_name, every.as_of_date,
        every.transfer_units, every.unit_cost,
        cast(coalesce(every.adjusted_units, every.transfer_units) * every.unit_cost as decimal(18, 4)) as transfer_cost,
        cast(every.unbought_units * every.bought_unit_cost as decimal(18, 4)) as purchase_avoided_value,
        every.order_by_date, every.expected_arrival_date, every.lead_time_days, every.stockout_date,
        cast(every.lost_margin_avoided as decimal(18, 4)) as lost_margin_avoided,
        cast(every.pack_units as decimal(18, 3)) as pack_units, every.short_units, every.from_free_units, every.from_kept_units,
        every.from_days_of_cover_after,
        case when every.state = 'proposed' then {{ transfer_reason() }} end as reason,
        every.cause, every.nearly_matched, every.rejected_until_date, every.rejected_until_units, every.acknowledged_units,
        every.adjusted_units, every.adjusted_by, every.shipped_units,
        every.received_units, every.decided_until
    from every
    inner join products on every.sku = products.sku
    inner join locations as origins on every.from_location_id = origins.location_id
    inner join locations as goals on every.to_location_id = goals.location_id
)

select * from described
