{# Days, beyond the lead time of the item, that a promise may be overdue before it is doubted. #}
{% macro promise_grace_days() %}{{ return(30) }}{% endmacro %}
