with lines as (
    select * from {{ ref('int_restock_lines') }}
),

forecasts as (
    select * from {{ ref('fct_demand_forecasts') }}
),

forecast_season as (
    select * from {{ source('predictions', 'forecast_season') }}
),

forecast_notes as (
    select * from {{ source('predictions', 'forecast_notes') }}
),

coming_demand as (
    select sku, location_id, sum(mean_units) as next_4_weeks_units
    from forecasts
    where periods_ahead between 1 and 28
    group by sku, location_id
),

-- What last year's season adds to the demand that an order has to cover; days beyond its factors have the factor 1.
seasons as (
    select
        lines.sku,
        lines.location_id,
        sum(forecasts.mean_units) - sum(forecasts.mean_units / coalesce(forecast_season.factor, 1)) as season_units,
        sum(forecasts.mean_units) / nullif(sum(forecasts.mean_units / coalesce(forecast_season.factor, 1)), 0) - 1 as season_change,
        max(forecast_season.trust) as season_trust
    from lines
    inner join forecasts
        on
            lines.sku = forecasts.sku
            and lines.location_id = forecasts.location_id
            and forecasts.periods_ahead between 1 and lines.protection_periods
    left join forecast_season on forecasts.day = forecast_season.day
    group by lines.sku, lines.location_id
),

-- What is planned beyond the protection interval concerns a later order.
notes as (
    select
        lines.sku,
        lines.location_id,
        max(case when forecast_notes.subject = 'new_item' then forecast_notes.note end) as new_item_note,
        max(case when forecast_notes.subject = 'season' then forecast_notes.note end) as woken_note,
        {{ dbt.listagg(
            "case when forecast_notes.subject = 'promotion' then forecast_notes.note end", "'. '",
            'order by forecast_notes.from_day'
        ) }} as promotion_note
    from lines
    inner join forecast_notes
        on lines.sku = forecast_notes.sku and lines.location_id = forecast_notes.location_id
    where
        forecast_notes.from_day is null
        or forecast_notes.from_day <= {{ add_days('lines.as_of_date', 'lines.protection_periods') }}
    group by lines.sku, lines.location_id
),

joined as (
    select
        lines.sku,
        lines.location_id,
        coming_demand.next_4_weeks_units,
        notes.new_item_note,
        notes.woken_note,
        notes.promotion_note,
        -- An item that wakes is forecast by its own seasons, whatever last year does to the others.
        case when notes.woken_note is null then seasons.season_units end as season_units,
        seasons.season_change,
        seasons.season_trust
    from lines
    left join coming_demand on lines.sku = coming_demand.sku and lines.location_id = coming_demand.location_id
    left join seasons on lines.sku = seasons.sku and lines.location_id = seasons.location_id
    left join notes on lines.sku = notes.sku and lines.location_id = notes.location_id
)

select * from joined
