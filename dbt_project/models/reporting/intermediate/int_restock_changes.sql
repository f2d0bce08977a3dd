with lines as (
    select * from {{ ref('int_restock_lines') }}
),

previous_lines as (
    select * from {{ source('predictions', 'previous_restock_lines') }}
),

causes as (
    select sku, location_id, string_agg(cause, ', ' order by step, term) as causes_text
    from {{ ref('restock_changes') }}
    group by sku, location_id
),

compared as (
    select
        lines.sku,
        lines.location_id,
        lines.on_order_doubtful_units,
        lines.protection_periods,
        lines.forecast_model_version,
        previous_lines.decided_date as previous_decided_date,
        previous_lines.protection_periods as previous_protection_periods,
        previous_lines.forecast_model_version as previous_forecast_model_version,
        {{ units('previous_lines.order_units') }} as previous_order_units,
        {{ units('previous_lines.on_order_doubtful_units') }} as previous_on_order_doubtful_units,
        lines.order_units - {{ units('previous_lines.order_units') }} as change_units,
        causes.causes_text
    from lines
    left join previous_lines on lines.sku = previous_lines.sku and lines.location_id = previous_lines.location_id
    left join causes on lines.sku = causes.sku and lines.location_id = causes.location_id
),

explained as (
    select
        sku,
        location_id,
        previous_decided_date,
        previous_order_units,
        change_units,
        case
            when change_units is null then null
            when change_units = 0 then concat('No change since the publication for ', previous_decided_date, '.')
            else concat(
                {{ number_text('abs(change_units)') }}, case when change_units > 0 then ' more' else ' less' end,
                ' than in the publication for ', previous_decided_date, ': ',
                concat_ws(
                    '; ', causes_text,
                    case
                        when on_order_doubtful_units > previous_on_order_doubtful_units
                            then concat(
                                {{ number_text('on_order_doubtful_units - previous_on_order_doubtful_units') }},
                                ' units on order are no longer counted, as they are later than their supplier ever was'
                            )
                        when on_order_doubtful_units < previous_on_order_doubtful_units
                            then concat(
                                {{ number_text('previous_on_order_doubtful_units - on_order_doubtful_units') }},
                                ' doubtful units on order are counted again'
                            )
                    end,
                    case
                        when protection_periods <> previous_protection_periods
                            then concat('the order covers ', protection_periods, ' days instead of ', previous_protection_periods)
                    end,
                    case
                        when forecast_model_version <> previous_forecast_model_version
                            then concat(
                                'the forecast is of version ', forecast_model_version, ' instead of ', previous_forecast_model_version
                            )
                    end
                ),
                '.'
            )
        end as change_reason
    from compared
)

select * from explained
