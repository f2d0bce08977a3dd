{# No row lacks a value in any of the columns. #}
{% test never_null(model, columns) %}

select * from {{ model }}
where {{ columns | join(' is null or ') }} is null

{% endtest %}
