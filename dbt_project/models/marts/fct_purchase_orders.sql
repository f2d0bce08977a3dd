with purchase_order_lines as (
    select * from {{ ref('fct_purchase_order_lines') }}
),

purchase_orders as (
    select
        purchase_order_id,
        supplier_id,
        location_id,
        min(ordered_date) as ordered_date,
        max(expected_date) as expected_date,
        case when bool_and(progress in ('received', 'cancelled')) then max(received_date) end as received_date,
        case
            when bool_and(progress = 'later') then 'later'
            when bool_and(progress = 'cancelled') then 'cancelled'
            when bool_and(progress in ('received', 'cancelled')) then 'received'
            else 'open'
        end as progress,
        cast(count(*) as integer) as lines_count,
        cast(count(case when progress = 'cancelled' then 1 end) as integer) as cancelled_lines_count,
        max(lead_time_days) as lead_time_days,
        max(days_late) as days_late,
        -- One late line makes an order late; of an order whose lines are not all known, nothing good is said yet.
        {% for measure in ['is_on_time', 'is_in_full', 'is_on_time_in_full'] %}
        case
            when bool_or(not {{ measure }}) then false
            when bool_and(progress = 'cancelled' or {{ measure }} is not null) then bool_and({{ measure }})
        end as {{ measure }},
        {% endfor %}
        cast(sum(ordered_value) as decimal(18, 4)) as ordered_value,
        cast(sum(received_units * unit_cost) as decimal(18, 4)) as received_value
    from purchase_order_lines
    group by purchase_order_id, supplier_id, location_id
)

select * from purchase_orders
