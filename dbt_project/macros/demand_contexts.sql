{#
    CTEs ending in `demand_contexts`: the fingerprint of everything but movements that shapes the demand rows of a series up to its
    `until_day`: list price, prices and promotions, events of the location, days of the location whose sales have not arrived
    or on which it rests, and whether what is used up without a sale is planned. What lies after that day does not enter, so planned
    promotions change nothing that is past.
#}
{% macro demand_contexts(spans) %}
            {# Outside the condition: there dbt finds dependencies. #}
            {% set other_consumption = ref('int_other_consumption') %}
            price_contexts as (
                select
                    spans.sku,
                    spans.location_id,
                    sum({{ fingerprint([
                        'prices.location_id is null', 'prices.from_date', 'least(prices.to_date, spans.until_day)',
                        'prices.unit_price', 'prices.is_promotion'
                    ]) }}) as total
                from {{ spans }} as spans
                inner join {{ ref('stg_prices') }} as prices
                    on
                        spans.sku = prices.sku
                        and spans.until_day >= prices.from_date
                        and (prices.location_id is null or prices.location_id = spans.location_id)
                group by spans.sku, spans.location_id
            ),

            event_contexts as (
                select
                    until_days.location_id,
                    until_days.until_day,
                    sum({{ fingerprint(['events.day', 'events.event_name', 'events.event_type']) }}) as total
                from (select distinct location_id, until_day from {{ spans }}) as until_days
                inner join {{ ref('int_location_events') }} as events
                    on until_days.location_id = events.location_id and until_days.until_day >= events.day
                group by until_days.location_id, until_days.until_day
            ),

            silence_contexts as (
                select
                    until_days.location_id,
                    until_days.until_day,
                    sum(
                        {{ fingerprint([
                            'silences.is_missing', 'silences.from_day', 'least(silences.until_day, until_days.until_day)'
                        ]) }}
                    ) as total
                from (select distinct location_id, until_day from {{ spans }}) as until_days
                inner join {{ ref('int_location_silences') }} as silences
                    on until_days.location_id = silences.location_id and until_days.until_day >= silences.from_day
                group by until_days.location_id, until_days.until_day
            ),

            demand_contexts as (
                select
                    spans.sku,
                    spans.location_id,
                    {{ fingerprint([
                        'products.unit_price', 'price_contexts.total', 'event_contexts.total', 'silence_contexts.total',
                        'case when other_consumption.is_planned then other_consumption.sku end'
                    ]) }} as context_fingerprint
                from {{ spans }} as spans
                inner join {{ ref('stg_products') }} as products on spans.sku = products.sku
                left join price_contexts
                    on spans.sku = price_contexts.sku and spans.location_id = price_contexts.location_id
                left join event_contexts
                    on spans.location_id = event_contexts.location_id and spans.until_day = event_contexts.until_day
                left join silence_contexts
                    on spans.location_id = silence_contexts.location_id and spans.until_day = silence_contexts.until_day
                left join {{ other_consumption }} as other_consumption
                    on spans.sku = other_consumption.sku and spans.location_id = other_consumption.location_id
            )
{% endmacro %}
