{#
    Sample variance of a column of exact numbers (decimal or integer), from exact sums. The built-in aggregate adds in floating
    point, so its last digits depend on the order in which threads deliver rows, and a rounded value may differ between two
    runs on the same data.
#}
{% macro exact_var_samp(column) -%}
    {% set wide = 'cast(' ~ column ~ ' as decimal(38, 3))' %}  {# squares of millions of units need the room #}
    greatest(
        cast(sum({{ wide }} * {{ wide }}) as double)
        - cast(sum({{ column }}) as double) * cast(sum({{ column }}) as double) / nullif(count({{ column }}), 0),
        0
    ) / nullif(count({{ column }}) - 1, 0)
{%- endmacro %}
