{# Quantiles rise with their level and none is negative, nor is the mean. #}
{% test quantiles_never_cross(model) %}

select * from {{ model }}
where not coalesce(
    mean_units >= 0 and q05_units >= 0
    and q05_units <= q10_units and q10_units <= q20_units and q20_units <= q30_units and q30_units <= q40_units
    and q40_units <= q50_units and q50_units <= q60_units and q60_units <= q70_units and q70_units <= q80_units
    and q80_units <= q90_units and q90_units <= q95_units,
    false
)

{% endtest %}
