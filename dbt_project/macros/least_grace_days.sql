{# Days that any order may be overdue before it is doubted. #}
{% macro least_grace_days() %}{{ return(3) }}{% endmacro %}
