with positions as (
    select * from {{ ref('fct_stock_position') }}
),

open_orders as (
    select * from {{ ref('fct_open_orders') }}
),

open_proposals as (
    select * from {{ source('predictions', 'open_proposals') }}
),

late_orders as (
    select sku, location_id, purchase_order_id as late_order_id, line as late_line, expected_date as late_since_date
    from open_orders
    where is_late
    qualify row_number() over (partition by sku, location_id order by expected_date, purchase_order_id, line) = 1
),

deliveries as (
    select
        open_orders.sku, open_orders.location_id, open_orders.purchase_order_id, open_orders.line,
        cast(null as varchar) as proposal_id, 'ordered' as state, open_orders.open_units,
        {{ add_days('positions.as_of_date', 'open_orders.periods_ahead') }} as planned_date
    from open_orders
    inner join positions on open_orders.sku = positions.sku and open_orders.location_id = positions.location_id
    where not open_orders.is_doubtful
    union all
    select
        open_proposals.sku, open_proposals.location_id, cast(null as varchar), cast(null as integer), open_proposals.proposal_id,
        open_proposals.state, {{ units('open_proposals.open_units') }},
        greatest(cast(open_proposals.expected_date as date), {{ add_days('positions.as_of_date', 1) }})
    from open_proposals
    inner join positions on open_proposals.sku = positions.sku and open_proposals.location_id = positions.location_id
),

next_deliveries as (
    select *
    from deliveries
    qualify
        row_number() over (
            partition by sku, location_id order by planned_date, purchase_order_id nulls last, line, proposal_id
        ) = 1
),

joined as (
    select
        coalesce(next_deliveries.sku, late_orders.sku) as sku,
        coalesce(next_deliveries.location_id, late_orders.location_id) as location_id,
        late_orders.late_order_id, late_orders.late_line, late_orders.late_since_date,
        next_deliveries.purchase_order_id as coming_order_id, next_deliveries.line as coming_line,
        next_deliveries.proposal_id as coming_proposal_id, next_deliveries.state as coming_state,
        next_deliveries.open_units as coming_units, next_deliveries.planned_date as coming_date
    from next_deliveries
    full join late_orders on next_deliveries.sku = late_orders.sku and next_deliveries.location_id = late_orders.location_id
)

select * from joined
