with recommendations as (
    select * from {{ ref('restock_recommendations') }}
),

order_steps as (
    select * from {{ ref('restock_order_steps') }}
),

held_lines as (
    select
        recommendations.supplier_id,
        recommendations.as_of_date,
        recommendations.supplier_order_value,
        recommendations.supplier_minimum_order_value,
        -order_steps.term_units * coalesce(recommendations.unit_cost, 0) as held_value,
        recommendations.lost_margin_without_order / greatest(recommendations.protection_days, 1) as money_per_day
    from order_steps
    inner join recommendations
        on order_steps.sku = recommendations.sku and order_steps.location_id = recommendations.location_id
    where
        order_steps.term = 'held_back'
        and recommendations.supplier_order_value < recommendations.supplier_minimum_order_value
),

totals as (
    select
        supplier_id,
        max(as_of_date) as as_of_date,
        count(*) as held_lines,
        sum(held_value) as held_value,
        max(supplier_minimum_order_value) as supplier_minimum_order_value,
        sum(money_per_day) as money_per_day
    from held_lines
    group by supplier_id
),

alerts as (
    select
        'below_supplier_minimum' as kind,
        'below_supplier_minimum' as cause,
        supplier_id,
        as_of_date,
        as_of_date as from_date,
        money_per_day,
        concat(
            held_lines, case when held_lines = 1 then ' line' else ' lines' end, ' for ',
            {{ number_text('round(held_value, 2)') }}, case when held_lines = 1 then ' waits' else ' wait' end,
            ': together they are below the minimum order of ', {{ number_text('supplier_minimum_order_value') }},
            '. Order more of what sells, or ask for a smaller minimum.'
        ) as cure
    from totals
)

select * from alerts
