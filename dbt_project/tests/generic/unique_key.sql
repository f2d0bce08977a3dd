{# A row per key: no column of the key is null (save the nullable ones) and no key occurs twice. #}
{% test unique_key(model, columns, nullable=[]) %}

with keys as (
    select {{ columns | join(', ') }}, count(*) as rows_with_key
    from {{ model }}
    group by {{ columns | join(', ') }}
)

select * from keys
where
    rows_with_key > 1
    {% for column in columns if column not in nullable %}
    or {{ column }} is null
    {% endfor %}

{% endtest %}
