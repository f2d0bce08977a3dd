{#
    Demand that a shelf expected to be empty loses, as CTE: sku, location_id, lost_units, lost_margin, last_empty_day per row of `risks`.

    Args:
        risks: CTE with sku and location_id.
        first_day: its column with the first day without stock.
        next_day: its column with the first day with stock again; empty = none as far as the forecast reaches.
#}
{% macro empty_days(risks, first_day, next_day) -%}
    select
        {{ risks }}.sku,
        {{ risks }}.location_id,
        cast(sum(forecasts.mean_units) as decimal(18, 3)) as lost_units,
        cast(
            sum(forecasts.mean_units) * greatest(max(item_locations.unit_price) - max(item_locations.unit_cost), 0)
            as decimal(18, 4)
        ) as lost_margin,
        max(forecasts.day) as last_empty_day
    from {{ risks }}
    inner join {{ ref('fct_demand_forecasts') }} as forecasts
        on {{ risks }}.sku = forecasts.sku and {{ risks }}.location_id = forecasts.location_id
    inner join {{ ref('dim_item_locations') }} as item_locations
        on {{ risks }}.sku = item_locations.sku and {{ risks }}.location_id = item_locations.location_id
    where
        forecasts.day >= {{ risks }}.{{ first_day }}
        and (forecasts.day < {{ risks }}.{{ next_day }} or {{ risks }}.{{ next_day }} is null)
    group by {{ risks }}.sku, {{ risks }}.location_id
{%- endmacro %}
