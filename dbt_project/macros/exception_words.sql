{# Codes of all causes of exceptions. #}
{% macro exception_codes() -%}
    {{ return(exception_causes() | map(attribute='code') | list) }}
{%- endmacro %}


{# What to do about a cause, as text within a literal in SQL. #}
{% macro exception_remedy(code) -%}
    {{ return((exception_causes() | selectattr('code', 'eq', code) | first).remedy | replace("'", "''")) }}
{%- endmacro %}
