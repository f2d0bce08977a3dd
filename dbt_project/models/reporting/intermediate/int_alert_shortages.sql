with recommendations as (
    select * from {{ ref('restock_recommendations') }}
),

positions as (
    select * from {{ ref('fct_stock_position') }}
),

-- What is left of a predecessor serves its customers too.
predecessors as (
    select sku, location_id, sum(left_stock_units) as left_units
    from {{ ref('fct_predecessor_stock') }}
    where is_still_sold and periods_ahead = 1
    group by sku, location_id
),

daily_stock as (
    select * from {{ ref('fct_daily_stock') }}
),

stock_transfers as (
    select * from {{ ref('stock_transfers') }}
),

proposals as (
    select * from {{ ref('purchase_order_proposals') }}
),

deliveries as (
    select * from {{ ref('int_alert_deliveries') }}
),

arriving_transfers as (
    select
        sku, to_location_id as location_id, from_location_id, planned_date as transfer_date,
        state as transfer_state, proposal_id as transfer_proposal_id
    from (
        select
            stock_transfers.*,
            -- One that should have come is planned for tomorrow.
            greatest(stock_transfers.expected_arrival_date, {{ add_days('positions.as_of_date', 1) }}) as planned_date,
            row_number() over (
                partition by stock_transfers.sku, stock_transfers.to_location_id
                order by stock_transfers.expected_arrival_date, stock_transfers.from_location_id
            ) as place
        from stock_transfers
        inner join positions
            on stock_transfers.sku = positions.sku and stock_transfers.to_location_id = positions.location_id
        where stock_transfers.state in ('proposed', 'approved', 'exported', 'acknowledged')
    ) as transfers
    where place = 1
),

last_stocked as (
    select sku, location_id, max(day) as last_stocked_date
    from daily_stock
    where closing_units > 0
    group by sku, location_id
),

-- Until when the item can be out: until something arrives, or an order of the next order day could.
spans as (
    select
        recommendations.*,
        positions.is_stock_known and positions.on_hand_units + coalesce(predecessors.left_units, 0) <= 0 as is_out,
        case
            when positions.is_stock_known and positions.on_hand_units + coalesce(predecessors.left_units, 0) <= 0
                then {{ add_days('recommendations.as_of_date', 1) }}
            else recommendations.stockout_date_50
        end as empty_from_date,
        coalesce(
            least(recommendations.next_delivery_date, recommendations.expected_arrival_date, arriving_transfers.transfer_date),
            {{ add_days('recommendations.as_of_date', 'coalesce(recommendations.protection_days, ' ~ alert_days() ~ ') + 1') }}
        ) as next_arrival_date,
        coalesce({{ add_days('last_stocked.last_stocked_date', 1) }}, recommendations.as_of_date) as out_since_date,
        arriving_transfers.transfer_date,
        arriving_transfers.from_location_id,
        arriving_transfers.transfer_state,
        deliveries.* exclude (sku, location_id),
        case when deliveries.coming_date = recommendations.next_delivery_date then deliveries.coming_order_id end as next_order_id,
        case when deliveries.coming_date = recommendations.next_delivery_date then deliveries.coming_line end as next_line,
        coalesce(
            case
                when arriving_transfers.transfer_state = 'proposed' and recommendations.status <> 'order'
                    then arriving_transfers.transfer_proposal_id
            end,
            proposals.proposal_id,
            case when deliveries.coming_date = recommendations.next_delivery_date then deliveries.coming_proposal_id end
        ) as proposal_id
    from recommendations
    inner join positions
        on recommendations.sku = positions.sku and recommendations.location_id = positions.location_id
    left join predecessors
        on recommendations.sku = predecessors.sku and recommendations.location_id = predecessors.location_id
    left join last_stocked
        on recommendations.sku = last_stocked.sku and recommendations.location_id = last_stocked.location_id
    left join deliveries
        on recommendations.sku = deliveries.sku and recommendations.location_id = deliveries.location_id
    left join arriving_transfers
        on
            recommendations.sku = arriving_transfers.sku
            and recommendations.location_id = arriving_transfers.location_id
    left join proposals on recommendations.recommendation_id = proposals.recommendation_id and proposals.state = 'proposed'
),

exposed as (
    select * from spans
    where is_out or empty_from_date < next_arrival_date
),

empty_days as (
    {{ empty_days('exposed', 'empty_from_date', 'next_arrival_date') }}
),

priced as (
    select
        exposed.*,
        coalesce(empty_days.lost_units, 0) as lost_units,
        coalesce(empty_days.lost_margin, 0)
        / greatest({{ days_between('exposed.as_of_date', 'exposed.next_arrival_date') }} - 1, 1) as money_per_day
    from exposed
    left join empty_days on exposed.sku = empty_days.sku and exposed.location_id = empty_days.location_id
),

shortages as (
    select
        *,
        case
            when is_out then 'out_of_stock'
            when next_delivery_date is not null and empty_from_date < next_delivery_date then 'out_before_delivery'
            else 'too_late_to_order'
        end as kind,
        case
            when is_negative or suspected_kind is not null then 'count_first'
            when status = 'exception' then 'no_order_worked_out'
            when late_order_id is not null then 'late_order'
            when forecast_note is not null then 'forecast_doubtful'
            when transfer_date = next_arrival_date and transfer_state = 'proposed' then 'transfer_undecided'
            when transfer_date = next_arrival_date then 'transfer_on_its_way'
            when next_delivery_date < coalesce(expected_arrival_date, date '9999-12-31') then 'delivery_too_late'
            when status = 'order' then 'order_too_late'
            else 'no_order'
        end as cause
    from priced
    where lost_units > 0 or (is_out and (expected_demand_units > 0 or last_4_weeks_units > 0))
)

select * from shortages
