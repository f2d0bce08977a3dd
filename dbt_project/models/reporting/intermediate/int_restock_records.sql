with restock_lines as (
    select * from {{ source('predictions', 'restock_lines') }}
),

positions as (
    select * from {{ ref('fct_stock_position') }}
),

anomalies as (
    select * from {{ ref('fct_stock_anomalies') }}
),

as_of as (
    select max(as_of_date) as as_of_date from restock_lines
),

-- What makes the record itself doubtful; a demand that jumps or drops does not.
doubts as (
    select sku, location_id, day as suspected_date, kind as suspected_kind
    from (
        select
            anomalies.*,
            row_number() over (
                partition by anomalies.sku, anomalies.location_id order by anomalies.day desc, anomalies.kind
            ) as latest_rank
        from anomalies
        cross join as_of
        where
            anomalies.day > {{ add_days('as_of.as_of_date', -28) }}
            and anomalies.kind not in ('none', 'demand_spike', 'demand_drop')
    ) as ranked
    where latest_rank = 1
),

records as (
    select
        restock_lines.sku,
        restock_lines.location_id,
        restock_lines.as_of_date,
        positions.last_counted_date,
        coalesce(positions.is_negative, false) as is_negative,
        positions.on_hand_units,
        coalesce(positions.unrecorded_days, 0) as unrecorded_days,
        coalesce(positions.is_stock_known, true) as is_stock_known,
        doubts.suspected_date,
        doubts.suspected_kind
    from restock_lines
    left join positions
        on restock_lines.sku = positions.sku and restock_lines.location_id = positions.location_id
    left join doubts on restock_lines.sku = doubts.sku and restock_lines.location_id = doubts.location_id
),

worded as (
    select
        *,
        concat_ws(
            '; ',
            case when is_negative then concat('recorded stock is ', {{ number_text('on_hand_units') }}, ', taken as 0') end,
            case when suspected_kind is not null then concat(replace(suspected_kind, '_', ' '), ' suspected on ', suspected_date) end,
            case
                when not is_stock_known then 'never counted or fully received'
                when last_counted_date is null then 'never counted'
                when last_counted_date > as_of_date then concat('counted on ', last_counted_date, ', the current day')
                else concat('counted ', {{ days_between('last_counted_date', 'as_of_date') }}, ' days ago')
            end
        ) as record_trust
    from records
)

select * from worded
