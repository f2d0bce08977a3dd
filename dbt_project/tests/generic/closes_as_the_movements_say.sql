{# Opening + receipts − sales + other = closing on every day, each day opens with what the one before closed with, and no day is left out. #}
{% test closes_as_the_movements_say(model) %}

with daily_stock as (
    select
        *,
        lag(closing_units, 1, 0) over (partition by sku, location_id order by day) as closed_before_units,
        lag(day) over (partition by sku, location_id order by day) as day_before
    from {{ model }}
)

select * from daily_stock
where
    closing_units <> opening_units + receipt_units - sales_units + other_units
    or opening_units <> closed_before_units
    or {{ days_between('day_before', 'day') }} <> 1

{% endtest %}
