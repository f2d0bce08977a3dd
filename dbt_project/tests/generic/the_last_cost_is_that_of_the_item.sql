{# The cost that still counts is the one that dim_item_locations and every recommendation use. #}
{% test the_last_cost_is_that_of_the_item(model) %}

select item_locations.sku, item_locations.location_id, item_locations.unit_cost, costs.unit_cost as last_unit_cost
from {{ ref('dim_item_locations') }} as item_locations
left join {{ model }} as costs
    on
        item_locations.sku = costs.sku
        and item_locations.location_id = costs.location_id
        and costs.to_date is null
where costs.unit_cost is distinct from item_locations.unit_cost

{% endtest %}
