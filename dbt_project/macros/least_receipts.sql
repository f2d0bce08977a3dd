{# Receipts from which on a supplier's own record at a location says more than its contract. #}
{% macro least_receipts() %}{{ return(5) }}{% endmacro %}
