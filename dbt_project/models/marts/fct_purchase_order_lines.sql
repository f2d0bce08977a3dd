with progress as (
    select * from {{ ref('int_purchase_order_progress') }}
),

unit_costs as (
    select * from {{ ref('dim_unit_costs') }}
),

-- Plain comparisons of dates: with anything else in its condition a left join compares every row with every other.
cost_periods as (
    select
        sku,
        location_id,
        unit_cost,
        coalesce(from_date, date '0001-01-01') as first_day,
        coalesce(to_date, date '9999-12-31') as last_day
    from unit_costs
),

staged as (
    select
        *,
        case
            when not is_ordered then 'later'
            when is_cancelled then 'cancelled'
            when is_closed or received_units >= ordered_units then 'received'
            else 'open'
        end as progress
    from progress
),

measured as (
    select
        *,
        case when progress = 'received' and received_date >= ordered_date then {{ days_between('ordered_date', 'received_date') }} end
            as lead_time_days,
        case when progress = 'received' then {{ days_between('expected_date', 'received_date') }} end as days_late,
        case when progress in ('received', 'cancelled') then greatest(ordered_units - received_units, 0) else 0 end as cancelled_units,
        -- An overdue line is late already; a cancelled one was neither on time nor late.
        case
            when progress = 'received' then received_date <= expected_date
            when progress = 'open' and expected_date < as_of_date then false
        end as is_on_time,
        case when progress = 'received' then received_units >= ordered_units end as is_in_full
    from staged
),

purchase_order_lines as (
    select
        measured.purchase_order_id,
        measured.line,
        measured.supplier_id,
        measured.sku,
        measured.location_id,
        measured.ordered_date,
        measured.confirmed_date,
        measured.expected_date,
        measured.received_date,
        measured.ordered_units,
        cast(measured.received_units as decimal(18, 3)) as received_units,
        cast(measured.cancelled_units as decimal(18, 3)) as cancelled_units,
        measured.progress,
        cast(measured.lead_time_days as integer) as lead_time_days,
        cast(measured.days_late as integer) as days_late,
        measured.is_on_time,
        measured.is_in_full,
        measured.is_on_time and measured.is_in_full as is_on_time_in_full,
        cost_periods.unit_cost,
        cast(measured.ordered_units * cost_periods.unit_cost as decimal(18, 4)) as ordered_value,
        measured.proposal_id
    from measured
    left join cost_periods
        on
            measured.sku = cost_periods.sku
            and measured.location_id = cost_periods.location_id
            and measured.ordered_date >= cost_periods.first_day
            and measured.ordered_date <= cost_periods.last_day
)

select * from purchase_order_lines
