{# What customers are promised in single documents is what the stock position says of the item. #}
{% test reservations_add_up_to_the_position(model) %}

with promised as (
    select sku, location_id, sum(reserved_units) as reserved_units, sum(backordered_units) as backordered_units
    from {{ model }}
    where not is_doubtful
    group by sku, location_id
)

select positions.sku, positions.location_id
from {{ ref('fct_stock_position') }} as positions
left join promised on positions.sku = promised.sku and positions.location_id = promised.location_id
where
    positions.reserved_units <> coalesce(promised.reserved_units, 0)
    or positions.backordered_units <> coalesce(promised.backordered_units, 0)

{% endtest %}
