with order_steps as (
    select * from {{ ref('restock_order_steps') }}
),

reductions as (
    select
        sku,
        location_id
        {% for step in reducing_steps() %}
        , sum(case when term = '{{ step.name }}' then -term_units else 0 end) as {{ step.name }}_units
        {% endfor %}
    from order_steps
    group by sku, location_id
)

select * from reductions
