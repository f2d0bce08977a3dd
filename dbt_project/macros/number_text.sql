{# A decimal(18, 3) as people write it: 46, 0.5, 12.125. #}
{% macro number_text(units) -%}
    rtrim(rtrim(cast(cast({{ units }} as decimal(18, 3)) as varchar), '0'), '.')
{%- endmacro %}


{# Units of the restock lines, computed in floating point: to three decimals, null where they are not a number. #}
{% macro units(column) -%}
    cast(nullif({{ column }}, cast('nan' as double)) as decimal(18, 3))
{%- endmacro %}


{# What a step of the worded recommendation takes off, to the decimals it shows; nothing where it takes off nothing. #}
{% macro less_text(units, text) -%}
    case
        when {{ units }} > 0
            then concat(
                ', less ', {{ number_text('case when shown_decimals = 1 then round(' ~ units ~ ', 1) else ' ~ units ~ ' end') }},
                ' {{ text | replace("'", "''") }}'
            )
        else ''
    end
{%- endmacro %}
