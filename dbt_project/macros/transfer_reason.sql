{# Why a transfer is proposed: what its destination lacks, what its origin can spare, what it costs and brings. #}
{% macro transfer_reason() -%}
    concat(
        'Move ', {{ number_text('every.transfer_units') }},
        case
            when every.pack_units = 1 then ''
            else concat(
                ' (', {{ number_text('every.transfer_units / every.pack_units') }}, ' ',
                case when every.order_multiple_source = 'case_pack' then 'case' else 'pack' end,
                case when every.transfer_units = every.pack_units then '' else 's' end, ' of ', {{ number_text('every.pack_units') }}, ')'
            )
        end,
        ' from ', every.from_location_id, ' to ', every.to_location_id, ', which lacks ',
        {{ number_text('round(every.short_units, 1)') }}, ' until its next order comes',
        case
            when every.stockout_date is null then ''
            else concat('; without it a stock-out is likelier than not from ', {{ day_text('every.stockout_date') }})
        end,
        '. ', every.from_location_id, ' has ', {{ number_text('every.from_free_units') }}, ' free, keeps ',
        {{ number_text('round(every.from_kept_units, 1)') }}, ' for its own demand until its next planned supply',
        case
            when every.from_days_of_cover_after is null then ' and expects no demand'
            else concat(' and has ', {{ whole_number_text('every.from_days_of_cover_after') }}, ' days of demand left after it')
        end,
        '. It costs ', cast(cast(every.transfer_units * every.unit_cost as decimal(18, 2)) as varchar), '; sent on ',
        {{ day_text(add_days('every.as_of_date', 1)) }}, ' it comes on ', {{ day_text('every.expected_arrival_date') }},
        case
            when every.supplier_arrival_date > every.expected_arrival_date
                then concat(', ', {{ days_between('every.expected_arrival_date', 'every.supplier_arrival_date') }}, ' days before an order could')
            else ''
        end,
        case
            when every.unbought_units > 0
                then concat(
                    '; ', {{ number_text('every.unbought_units') }}, ' less to buy, for ',
                    cast(cast(every.unbought_units * every.bought_unit_cost as decimal(18, 2)) as varchar)
                )
            else '; no less is bought'
        end,
        case
            when every.lost_margin_avoided >= 0.005
                then concat(
                    '; the margin expected to be lost until the next order comes falls by ',
                    cast(cast(every.lost_margin_avoided as decimal(18, 2)) as varchar)
                )
            else ''
        end,
        '.'
    )
{%- endmacro %}
