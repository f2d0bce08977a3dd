{# Names of the steps of some stages, as a list in SQL: all of them, or those that raise (1) or lower (-1) the order. #}
{% macro order_steps_of(stages, sign=none) -%}
    (
        {%- for step in order_steps() if step.stage in stages and sign in (none, step.sign) -%}
        {{ ", " if not loop.first }}'{{ step.name }}'
        {%- endfor -%}
    )
{%- endmacro %}


{# Steps that take units off a shortfall or an order: all of them, or those of a stage. #}
{% macro reducing_steps(stage=none) -%}
    {% set found = [] %}
    {% for step in order_steps() if step.sign < 0 and step.stage not in ('level', 'position') and stage in (none, step.stage) %}
        {% do found.append(step) %}
    {% endfor %}
    {{ return(found) }}
{%- endmacro %}
