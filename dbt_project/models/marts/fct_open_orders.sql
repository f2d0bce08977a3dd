with progress as (
    select * from {{ ref('int_purchase_order_progress') }}
),

lead_times as (
    select * from {{ ref('fct_supplier_lead_times') }}
),

open_lines as (
    select
        *,
        {{ days_between('as_of_date', 'expected_date') }} as days_until_expected,
        {{ days_between('ordered_date', 'as_of_date') }} as days_waited
    from progress
    where is_ordered and not is_cancelled and not is_closed and ordered_units > received_units
),

late_lines as (
    select distinct supplier_id, location_id, days_waited
    from open_lines
    where days_until_expected <= 0
),

-- How much longer a supplier that has let wait this long lets wait, as its receipts here tell.
remaining_waits as (
    select
        late_lines.supplier_id,
        late_lines.location_id,
        late_lines.days_waited,
        cast(ceil(avg(lead_times.lead_time_days - late_lines.days_waited)) as integer) as days_remaining
    from late_lines
    inner join lead_times
        on
            late_lines.supplier_id = lead_times.supplier_id
            and late_lines.location_id = lead_times.location_id
            and late_lines.days_waited < lead_times.lead_time_days
    group by late_lines.supplier_id, late_lines.location_id, late_lines.days_waited
    having count(*) >= {{ least_receipts() }}
),

open_orders as (
    select
        open_lines.purchase_order_id,
        open_lines.line,
        open_lines.supplier_id,
        open_lines.sku,
        open_lines.location_id,
        open_lines.ordered_date,
        open_lines.expected_date,
        cast(open_lines.ordered_units - open_lines.received_units as decimal(18, 3)) as open_units,
        cast(
            case
                when open_lines.days_until_expected > 0 then open_lines.days_until_expected
                else coalesce(remaining_waits.days_remaining, 1)
            end as integer
        ) as periods_ahead,
        open_lines.days_until_expected <= 0 as is_late,
        open_lines.proposal_id
    from open_lines
    left join remaining_waits
        on
            open_lines.supplier_id = remaining_waits.supplier_id
            and open_lines.location_id = remaining_waits.location_id
            and open_lines.days_waited = remaining_waits.days_waited
)

select * from open_orders
