{# The expression is true for every row; unknown counts as false. #}
{% test expression_holds(model, expression) %}

select * from {{ model }}
where not coalesce({{ expression }}, false)

{% endtest %}
