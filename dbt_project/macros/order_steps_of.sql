{# Names of the steps of some stages, as a list in SQL: all of them, or those that raise (1) or lower (-1) the order. #}
{% macro order_steps_of(stages, sign=none) -%}
    (
        {%- for step in order_steps() if step.stage in stages and sign in (none, step.sign) -%}
        {{ ", " if not loop.first }}'{{ step.name }}'
        {%- endfor -%}
    )
{%- endmacro %}
