{# A decimal(18, 3) as people write it: 46, 0.5, 12.125. #}
{% macro number_text(units) -%}
    rtrim(rtrim(cast(cast({{ units }} as decimal(18, 3)) as varchar), '0'), '.')
{%- endmacro %}


{# Units of the restock lines, computed in floating point: to three decimals, null where they are not a number. #}
{% macro units(column) -%}
    cast(nullif({{ column }}, cast('nan' as double)) as decimal(18, 3))
{%- endmacro %}
