with context as (
    select * from {{ ref('int_restock_context') }}
),

-- The sentence shows one decimal and still adds up: the level is rounded, and what is left after the expected demand is the
-- uncertainty. Where that would show a shortfall as nothing, all decimals are shown.
shown as (
    select
        *,
        case when shown_decimals = 1 then round(order_up_to_units, 1) else order_up_to_units end as shown_level,
        case when shown_decimals = 1 then round(expected_demand_units, 1) else expected_demand_units end as shown_expected
    from (
        select
            *,
            case
                when shortfall_units > 0 and round(order_up_to_units, 1) - inventory_position_units <= 0 then 3
                else 1
            end as shown_decimals,
            case when order_multiple_source = 'case_pack' then 'case' else 'pack' end as pack_noun
        from context
    ) as decided
),

worded as (
    select
        *,
        concat(
            {{ number_text('shown_expected') }}, ' expected over ', protection_periods,
            case when protection_periods = 1 then ' day' else ' days' end,
            case when shown_level >= shown_expected then ' + ' else ' − ' end,
            {{ number_text('abs(shown_level - shown_expected)') }},
            case when shown_level >= shown_expected then ' for uncertainty' else ' that the target leaves uncovered' end,
            case when expiring_units > 0 then concat(' (', {{ number_text('expiring_units') }}, ' for lots that expire)') else '' end,
            case when reserved_units <> 0 then concat(' + ', {{ number_text('reserved_units') }}, ' reserved') else '' end,
            case when backordered_units <> 0 then concat(' + ', {{ number_text('backordered_units') }}, ' backordered') else '' end,
            case
                when transfer_out_units > 0 then concat(' (', {{ number_text('transfer_out_units') }}, ' for approved transfers)')
                else ''
            end,
            case
                when unrecorded_sales_units > 0 then concat(' + ', {{ number_text('unrecorded_sales_units') }}, ' likely sold without a record')
                else ''
            end,
            ' − ', {{ number_text('on_hand_units') }}, ' on hand', case when assumed_stock is not null then ' (assumed)' else '' end, ' − ', {{ number_text('on_order_units') }}, ' on order',
            case
                when transfer_in_units > 0 then concat(' (', {{ number_text('transfer_in_units') }}, ' by approved transfers)')
                else ''
            end
        ) as sum_text,
        concat(
            {% for step in reducing_steps('need') %}
            {{ less_text(step.name ~ '_units', step.less) }},
            {% endfor %}
            case
                when moq_added_units > 0
                    then concat(', raised to the minimum order of ', {{ number_text('moq_units') }})
                else ''
            end,
            case
                when multiple_added_units > 0 and moq_added_units > 0 then ' and rounded up to '
                when multiple_added_units > 0 then ', rounded up to '
                else ''
            end,
            case
                when multiple_added_units > 0 and pack_units = 1 then 'whole units'
                when multiple_added_units > 0 then concat(pack_noun, 's')
                else ''
            end,
            {% for step in reducing_steps('packs') %}
            {{ less_text(step.name ~ '_units', step.less) }},
            {% endfor %}
            case
                when rejected_units > 0 then concat(', less ', {{ number_text('rejected_units') }}, ' ', rejection)
                else ''
            end,
            case
                when supplier_minimum_added_units > 0
                    then concat(
                        ', ', {{ number_text('supplier_minimum_added_units') }}, ' more for the supplier''s minimum of ',
                        {{ number_text('supplier_minimum_order_value') }}
                    )
                else ''
            end
            {% for step in reducing_steps('sharing') %}
            , {{ less_text(step.name ~ '_units', step.less) }}
            {% endfor %}
        ) as steps_text
    from shown
)

select * from worded
