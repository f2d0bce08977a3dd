{# Least change of the demand that an order covers, as a share, from which its reason names last year's season. #}
{% set least_season = 0.05 %}

with sums as (
    select * from {{ ref('int_restock_sums') }}
),

promises as (
    select * from {{ ref('int_restock_promises') }}
),

successions as (
    select * from {{ ref('int_restock_successions') }}
),

worded as (
    select
        *,
        concat(
            case
                when on_order_not_counted_units > 0
                    then concat(' ', {{ number_text('on_order_not_counted_units') }}, ' more units on order arrive too late to count.')
                else ''
            end,
            case
                when on_order_doubtful_units > 0
                    then concat(
                        ' ', {{ number_text('on_order_doubtful_units') }}, ' units on order were due on ', doubtful_since_date,
                        case
                            when order_units > 0
                            then concat(
                                ' and are not counted; this order replaces ',
                                {{ number_text('least(on_order_doubtful_units, order_units)') }}, ' of them.'
                            )
                            else ' and are not counted.'
                        end,
                        ' Ask the supplier whether they still come; if not, close the order line.'
                    )
                else ''
            end,
            left_out_text
        ) as late_text,
        case
            when last_sale_date is null then ''
            when remainder_units >= 0.5 or after_sale_units > 0
                then concat(
                    ' ',
                    concat_ws(
                        '; ',
                        case
                            when remainder_units >= 0.5
                                then concat(
                                    {{ whole_number_text('remainder_units') }}, ' units of stock and orders ',
                                    case
                                        when last_sale_date > as_of_date then 'may be left when the season ends on '
                                        else 'are left: the season ended on '
                                    end,
                                    {{ day_text('last_sale_date') }}
                                )
                        end,
                        case
                            when after_sale_units > 0
                                then concat(
                                    {{ number_text('after_sale_units') }}, ' units on order are due after the last day of sale, ',
                                    {{ day_text('last_sale_date') }}
                                )
                        end
                    ),
                    '.'
                )
            when after_last_sale_units > 0
                then concat(
                    ' The season ', case when last_sale_date > as_of_date then 'ends' else 'ended' end, ' on ',
                    {{ day_text('last_sale_date') }}, '.'
                )
            else ''
        end as season_text,
        case
            -- Where more is to spare than the season moves, it decides nothing.
            when
                status <> 'exception'
                and abs(season_change) >= {{ least_season }}
                and abs(season_units) > inventory_position_units - order_up_to_units
                then concat(
                    ' Last year''s season ', case when season_change > 0 then 'raises' else 'lowers' end, ' the forecast by ',
                    {{ whole_number_text('100 * abs(season_change)') }}, ' % (trust ', {{ number_text('round(season_trust, 2)') }}, ').'
                )
            else ''
        end as last_year_text,
        case
            when forecast_note is null then ''
            when is_forecast_high then concat(' ', forecast_note, ' If demand follows those weeks, this order is not needed.')
            else concat(' ', forecast_note, ' If demand follows those weeks, this order is ', {{ whole_number_text('doubtful_units') }}, ' too small.')
        end as doubt_text,
        case
            when fixed_cost_units > 0
                then concat(
                    ' Waiting for the next review costs ', {{ number_text('waiting_cost') }}, ' here; an order to the supplier costs ',
                    {{ number_text('supplier_fixed_order_cost') }}, ' whatever its size.'
                )
            when status = 'order' and order_interval_periods > review_period_days
                then concat(
                    ' It is to last ', order_interval_periods, ' days: an order to the supplier costs ',
                    {{ number_text('supplier_fixed_order_cost') }}, ' whatever its size.'
                )
            else ''
        end as fixed_cost_text,
        case when forecast_basis is null then '' else concat(' ', forecast_basis, '.') end as basis_text
    from sums
),

reasons as (
    select
        worded.sku,
        worded.location_id,
        concat(
            case
                when status = 'exception' then concat('No order can be calculated: ', exception, '.')
                when status = 'order'
                    then concat(
                        'Order ', {{ number_text('order_units') }},
                        case
                            when pack_units = 1 then ''
                            when order_packs = 1 then concat(' (1 ', pack_noun, ' of ', {{ number_text('pack_units') }}, ')')
                            else concat(' (', {{ number_text('order_packs') }}, ' ', pack_noun, 's of ', {{ number_text('pack_units') }}, ')')
                        end,
                        ': ', sum_text, ' = ', {{ number_text('shown_level - inventory_position_units') }}, steps_text, '.', late_text
                    )
                when shortfall_units > 0 or rejected_units > 0
                    then concat(
                        'Order nothing: ', sum_text, ' = ', {{ number_text('shown_level - inventory_position_units') }},
                        steps_text, '.', late_text
                    )
                else concat(
                    'Order nothing: ', sum_text, ' leaves ', {{ number_text('inventory_position_units - shown_level') }}, ' to spare.',
                    late_text
                )
            end,
            promises.promise_text,
            fixed_cost_text,
            promises.record_text, basis_text, last_year_text,
            coalesce(successions.succession_text, ''),
            case when successions.is_followed then '' else season_text end, doubt_text
        ) as reason
    from worded
    inner join promises on worded.sku = promises.sku and worded.location_id = promises.location_id
    left join successions on worded.sku = successions.sku and worded.location_id = successions.location_id
)

select * from reasons
