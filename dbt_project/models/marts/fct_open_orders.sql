with progress as (
    select * from {{ ref('int_purchase_order_progress') }}
),

lead_times as (
    select * from {{ ref('fct_supplier_lead_times') }}
),

stock_movements as (
    select * from {{ ref('int_folded_movements') }}
),

-- What a record below zero has sold beyond what was ever booked.
overdrawn as (
    select sku, location_id, -sum(change_units) as missing_units
    from stock_movements
    group by sku, location_id
    having {{ is_stock_known('stock_movements') }} and sum(change_units) < 0
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

-- The longest this supplier was ever late, wherever it delivered.
latest_receipts as (
    select supplier_id, max({{ days_between('expected_date', 'received_date') }}) as days_late, count(*) as receipts_count
    from progress
    where is_ordered and not is_cancelled and received_date is not null and (is_closed or received_units >= ordered_units)
    group by supplier_id
),

-- An order later than its supplier ever was is doubtful. Few receipts have not seen everything: half of the time agreed for
-- the order is granted besides, and all of it where the supplier is hardly known.
trusted as (
    select
        open_lines.*,
        greatest(-days_until_expected, 0) as days_late,
        greatest(
            coalesce(latest_receipts.days_late, 0),
            ceil(
                {{ days_between('open_lines.ordered_date', 'open_lines.expected_date') }}
                * case when coalesce(latest_receipts.receipts_count, 0) >= {{ least_receipts() }} then 0.5 else 1 end
            ),
            {{ least_grace_days() }}
        ) as most_days_late
    from open_lines
    left join latest_receipts on open_lines.supplier_id = latest_receipts.supplier_id
),

-- It came with orders that are due, though nobody has booked their receipt: oldest first, and no order to come later.
due_lines as (
    select
        trusted.purchase_order_id,
        trusted.line,
        greatest(
            least(
                trusted.ordered_units - trusted.received_units,
                overdrawn.missing_units + trusted.ordered_units - trusted.received_units
                - sum(trusted.ordered_units - trusted.received_units) over (
                    partition by trusted.sku, trusted.location_id
                    order by trusted.expected_date, trusted.purchase_order_id, trusted.line
                    rows between unbounded preceding and current row
                )
            ),
            0
        ) as unbooked_units
    from trusted
    inner join overdrawn on trusted.sku = overdrawn.sku and trusted.location_id = overdrawn.location_id
    where
        trusted.days_until_expected <= {{ 1 if var('running_day', false) else 0 }}
        and trusted.days_late <= trusted.most_days_late
),

open_orders as (
    select
        open_lines.purchase_order_id,
        open_lines.line,
        open_lines.supplier_id,
        open_lines.sku,
        open_lines.location_id,
        open_lines.ordered_date,
        open_lines.confirmed_date,
        open_lines.expected_date,
        cast(open_lines.ordered_units - open_lines.received_units as decimal(18, 3)) as open_units,
        cast(coalesce(due_lines.unbooked_units, 0) as decimal(18, 3)) as unbooked_units,
        cast(
            case
                when open_lines.days_until_expected > 0 then open_lines.days_until_expected
                else coalesce(remaining_waits.days_remaining, greatest(open_lines.days_late, 1))
            end as integer
        ) as periods_ahead,
        open_lines.days_until_expected <= 0 as is_late,
        cast(open_lines.days_late as integer) as days_late,
        open_lines.days_late > open_lines.most_days_late as is_doubtful,
        open_lines.proposal_id
    from trusted as open_lines
    left join due_lines
        on open_lines.purchase_order_id = due_lines.purchase_order_id and open_lines.line = due_lines.line
    left join remaining_waits
        on
            open_lines.supplier_id = remaining_waits.supplier_id
            and open_lines.location_id = remaining_waits.location_id
            and open_lines.days_waited = remaining_waits.days_waited
)

select * from open_orders
