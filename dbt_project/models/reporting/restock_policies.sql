with policies as (
    select * from {{ source('predictions', 'restock_policies') }}
),

held as (
    select
        sku,
        location_id,
        as_of_date,
        target_type,
        nullif(target_value, cast('nan' as double)) as target_value,
        policy_source,
        policy_note,
        unmet_demand,
        cast(holding_cost as decimal(18, 6)) as holding_cost,
        cast(shortage_cost as decimal(18, 4)) as shortage_cost,
        coalesce(order_rule, 'order_up_to') as order_rule,
        {% for name in ['order_quantity', 'min', 'max', 'dampener', 'order_up_to_max', 'max_order', 'max_stock', 'largest_order'] %}
        {{ units(name ~ '_units') }} as {{ name }}_units,
        {% endfor %}
        {% for name in ['first_order_days', 'no_order_above_days', 'excess_above_days', 'dead_after_days'] %}
        cast(nullif({{ name }}, cast('nan' as double)) as integer) as {{ name }},
        {% endfor %}
        cast(nullif(alert_above_money_per_day, cast('nan' as double)) as decimal(18, 4)) as alert_above_money_per_day,
        cast(nullif(line_cost, cast('nan' as double)) as decimal(18, 4)) as line_cost,
        cast(coalesce(nullif(hold_level_within, cast('nan' as double)), 0) as decimal(9, 4)) as hold_level_within,
        coalesce(demand_model, 'simulated') as demand_model,
        coalesce(unknown_stock, 'ask') as unknown_stock,
        coalesce(plan_other_consumption, '{{ 'yes' if var('plan_other_consumption', false) else 'no' }}') as plan_other_consumption
    from policies
)

select * from held
