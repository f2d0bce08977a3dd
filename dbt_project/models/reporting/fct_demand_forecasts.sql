{% set quantiles = ['05', '10', '20', '30', '40', '50', '60', '70', '80', '90', '95'] %}

with forecasts as (
    select * from {{ source('predictions', 'demand_forecasts') }}
),

rounded as (
    select
        sku,
        location_id,
        day,
        as_of_date,
        periods_ahead,
        cast(mean_units as decimal(18, 6)) as mean_units,
        {% for quantile in quantiles %}
        cast(q{{ quantile }}_units as decimal(18, 3)) as q{{ quantile }}_units,
        {% endfor %}
        model_version
    from forecasts
)

select * from rounded
