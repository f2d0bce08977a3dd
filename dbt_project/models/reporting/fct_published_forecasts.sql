{{ config(materialized='view') }}

with published_forecasts as (
    select * from {{ source('predictions', 'published_forecasts') }}
),

rounded as (
    select
        sku,
        location_id,
        day,
        as_of_date,
        periods_ahead,
        cast(mean_units as decimal(18, 6)) as mean_units,
        cast(q10_units as decimal(18, 3)) as q10_units,
        cast(q50_units as decimal(18, 3)) as q50_units,
        cast(q90_units as decimal(18, 3)) as q90_units,
        model_version
    from published_forecasts
)

select * from rounded
