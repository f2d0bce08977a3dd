with lines as (
    select * from {{ ref('int_restock_lines') }}
),

reservations as (
    select * from {{ ref('fct_reservations') }}
),

item_locations as (
    select * from {{ ref('dim_item_locations') }}
),

promised as (
    select
        lines.sku,
        lines.location_id,
        any_value(lines.promised_later_units) as later_units,
        min(case when not reservations.is_doubtful and reservations.days_until_due > lines.protection_periods then reservations.due_date end)
            as later_date,
        sum(case when reservations.is_doubtful then reservations.reserved_units + reservations.backordered_units else 0 end)
            as doubtful_units,
        min(case when reservations.is_doubtful then reservations.due_date end) as doubtful_date,
        min(case when reservations.is_doubtful then reservations.document end) as doubtful_document,
        count(case when reservations.is_doubtful then 1 end) as doubtful_documents
    from lines
    left join reservations on lines.sku = reservations.sku and lines.location_id = reservations.location_id
    group by lines.sku, lines.location_id
),

-- What is planned as demand is part of the forecast.
used as (
    select
        promised.*,
        case
            when item_locations.is_other_consumption_planned then 0 else coalesce(item_locations.other_consumption_daily_units, 0)
        end as used_units
    from promised
    left join item_locations on promised.sku = item_locations.sku and promised.location_id = item_locations.location_id
),

worded as (
    select
        sku,
        location_id,
        cast(used_units as decimal(18, 3)) as other_consumption_daily_units,
        concat(
            case
                when used_units > 0
                    then concat(
                        ' Besides what is sold, about ', {{ number_text('used_units') }}, ' a day are used up by adjustments,',
                        ' which orders leave out: policy plan_other_consumption yes makes such use demand.'
                    )
                else ''
            end,
            case
                when later_units > 0 and later_date is not null
                    then concat(
                        ' ', {{ number_text('later_units') }}, ' more are promised for later, from ', {{ day_text('later_date') }},
                        ' on: a later order can serve them.'
                    )
                else ''
            end,
            case
                when doubtful_units > 0
                    then concat(
                        ' ', {{ number_text('doubtful_units') }}, ' promised to ', doubtful_document,
                        case when doubtful_documents > 1 then ' and others were due from ' else ' were due on ' end,
                        {{ day_text('doubtful_date') }},
                        case when doubtful_documents > 1 then ' on' else '' end,
                        ' and are not counted: if they are still wanted, give them a new due date; if not, take them off the list.'
                    )
                else ''
            end
        ) as left_out_text
    from used
)

select * from worded
