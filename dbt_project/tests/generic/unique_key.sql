{#
    A row per key: no column of the key is null (save the nullable ones) and no key occurs twice. Fingerprints of the keys are
    grouped first, which costs half of grouping the keys; only where two agree the keys themselves are looked at.
#}
{% test unique_key(model, columns, nullable=[]) %}
{% set key = columns | join(', ') %}

with fingerprints as (
    select {{ fingerprint(columns) }} as key_fingerprint
    from {{ model }}
),

shared as (
    select key_fingerprint from fingerprints group by key_fingerprint having count(*) > 1
),

doubled as (
    select {{ key }}
    from {{ model }}
    where {{ fingerprint(columns) }} in (select key_fingerprint from shared)
    group by {{ key }}
    having count(*) > 1
),

incomplete as (
    select {{ key }}
    from {{ model }}
    where false {% for column in columns if column not in nullable %}or {{ column }} is null {% endfor %}

)

select * from doubled
union all
select * from incomplete

{% endtest %}
