{# Days looked ahead where no order can be worked out, so that no protection interval is known. #}
{% macro alert_days() -%}
    28
{%- endmacro %}
