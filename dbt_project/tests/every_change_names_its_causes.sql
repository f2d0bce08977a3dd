{{ config(meta={'dagster': {'ref': {'name': 'restock_recommendations'}}}) }}

{# An order that differs from the one published before has causes in words, and they add up to the difference. #}

with recommendations as (
    select * from {{ ref('restock_recommendations') }}
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
)

select * from unexplained
