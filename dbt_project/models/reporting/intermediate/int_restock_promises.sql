with context as (
    select * from {{ ref('int_restock_context') }}
),

rests as (
    select * from {{ ref('int_location_silences') }}
    where is_ongoing and not is_missing
),

promises as (
    select
        context.sku,
        context.location_id,
        case
            when status <> 'order' or stockout_probability_with_order is null then ''
            else concat(
                ' For ', cast(cast(order_units * coalesce(unit_cost, 0) as decimal(18, 2)) as varchar),
                ' a stock-out before the next order comes is ', {{ chance_text('stockout_probability_with_order') }},
                ' likely instead of ', {{ chance_text('stockout_probability_without_order') }},
                case
                    when unit_margin > 0 and lost_units_without_order > 0
                        then concat(
                            ', and the margin expected to be lost ',
                            cast(cast(lost_units_with_order * unit_margin as decimal(18, 2)) as varchar), ' instead of ',
                            cast(cast(lost_units_without_order * unit_margin as decimal(18, 2)) as varchar)
                        )
                    else ''
                end,
                case target_type
                    when 'cost' then ' (target: least cost)'
                    when 'cycle_service_level'
                        then concat(' (target: no stock-out in ', {{ number_text('round(100 * target_value, 1)') }}, ' % of cycles)')
                    when 'fill_rate'
                        then concat(' (target: ', {{ number_text('round(100 * target_value, 1)') }}, ' % of demand served from stock)')
                    else ''
                end,
                '.'
            )
        end as promise_text,
        concat(
            case
                when sales_known_until_date is null then ''
                else concat(
                    ' No sales have arrived from ', context.location_id, ' since ', {{ day_text('sales_known_until_date') }},
                    ': they are taken to have gone on as forecast. Send the missing files, or count the shelf.'
                )
            end,
            case
                when rests.location_id is null then ''
                else concat(
                    ' ', rests.location_id, ' has sold nothing since ', {{ day_text('rests.last_sale_day') }},
                    case rests.cause
                        when 'counted' then ', as a count shows'
                        when 'season' then ', as in the same season of the year before'
                        else ', as in earlier pauses'
                    end,
                    ': no demand is expected ',
                    coalesce('before ' || {{ day_text(add_days('rests.until_day', 1)) }}, 'until it sells again'), '.'
                )
            end,
            case assumed_stock
                when 'empty' then ' Its stock was never counted or fully received: it is taken to be empty (policy unknown_stock). Count the shelf.'
                when 'covers_lead_time'
                    then ' Its stock was never counted or fully received: it is taken to last until an order arrives (policy unknown_stock). Count the shelf.'
                else ''
            end,
            case
                when is_negative or suspected_kind is not null then concat(' The stock record is doubtful: ', record_trust, '.')
                else ''
            end
        ) as record_text
    from context
    left join rests on context.location_id = rests.location_id
)

select * from promises
