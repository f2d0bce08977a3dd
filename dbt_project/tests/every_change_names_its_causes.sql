{{ config(meta={'dagster': {'ref': {'name': 'restock_recommendations'}}}) }}

{#
    An order that differs from the one published before has causes in words, and they add up to the difference; so has an item
    that is decided no longer, whose order is taken back as a whole.
#}

with recommendations as (
    select * from {{ ref('restock_recommendations') }}
),

previous_lines as (
    select sku, location_id, {{ units('order_units') }} as order_units from {{ source('predictions', 'previous_restock_lines') }}
),

changes as (
    select sku, location_id, sum(change_units) as explained_units, count(cause) as causes
    from {{ ref('restock_changes') }}
    group by sku, location_id
),

unexplained as (
    select recommendations.sku, recommendations.location_id, recommendations.change_units, changes.explained_units
    from recommendations
    left join changes
        on recommendations.sku = changes.sku and recommendations.location_id = changes.location_id
    where
        recommendations.change_units is not null
        and (
            abs(recommendations.change_units - coalesce(changes.explained_units, 0)) > 0.001
            or recommendations.change_reason is null
            or (recommendations.change_units <> 0 and coalesce(changes.causes, 0) = 0)
        )
    union all
    select previous_lines.sku, previous_lines.location_id, -previous_lines.order_units as change_units, changes.explained_units
    from previous_lines
    left join recommendations
        on previous_lines.sku = recommendations.sku and previous_lines.location_id = recommendations.location_id
    left join changes on previous_lines.sku = changes.sku and previous_lines.location_id = changes.location_id
    where
        recommendations.sku is null
        and not coalesce(abs(changes.explained_units + previous_lines.order_units) <= 0.001 and changes.causes > 0, false)
)

select * from unexplained
