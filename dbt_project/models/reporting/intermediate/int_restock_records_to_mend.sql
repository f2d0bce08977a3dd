with positions as (
    select * from {{ ref('fct_stock_position') }}
),

item_locations as (
    select * from {{ ref('dim_item_locations') }}
),

as_of as (
    select * from {{ ref('int_as_of') }}
),

silences as (
    select * from {{ ref('int_location_silences') }}
    where is_ongoing
),

source_silences as (
    select * from {{ ref('int_source_silences') }}
),

known as (
    select positions.*, item_locations.is_active
    from positions
    inner join item_locations
        on positions.sku = item_locations.sku and positions.location_id = item_locations.location_id
),

to_mend as (
    select
        'stock' as exception_source, 'on_hand_negative' as exception_cause, sku, location_id, as_of_date,
        concat('on hand is ', {{ number_text('on_hand_units') }}, ' units: {{ exception_remedy('on_hand_negative') }}') as remedy
    from known
    where is_negative and is_active
    union all
    select
        'promise' as exception_source, 'promised_not_ordered' as exception_cause, sku, location_id, as_of_date,
        concat(
            {{ number_text('backordered_units + reserved_units') }}, ' units are promised to customers, ',
            {{ number_text('greatest(on_hand_units, 0)') }}, ' are on hand and ', {{ number_text('on_order_units') }},
            ' on order, and the item is no longer ordered: {{ exception_remedy('promised_not_ordered') }}'
        ) as remedy
    from known
    where not is_active and backordered_units + reserved_units > greatest(on_hand_units, 0) + on_order_units
    union all
    select
        'location' as exception_source, 'sales_missing' as exception_cause, cast(null as varchar) as sku, silences.location_id,
        as_of.as_of_date,
        concat(
            'no sales have arrived from ', silences.location_id, ' since ', silences.last_sale_day, ', for ', silences.silent_days,
            ' open days; ',
            case
                when silences.longest_before_days is null then 'it never paused before'
                else concat(
                    'its longest pause before was ', silences.longest_before_days, ' open day',
                    case when silences.longest_before_days = 1 then '' else 's' end, ', from ', silences.longest_before_day
                )
            end,
            case
                when silences.lacking_share is null then ''
                else concat(
                    ', and a count lacks ', {{ whole_number_text('100 * silences.lacking_share') }}, ' % of what would have been sold'
                )
            end,
            ': {{ exception_remedy('sales_missing') }}'
        ) as remedy
    from silences
    cross join as_of
    where silences.is_missing
    union all
    select
        'location' as exception_source, 'pause_without_end' as exception_cause, cast(null as varchar) as sku, silences.location_id,
        as_of.as_of_date,
        concat(
            silences.location_id, ' has sold nothing since ', silences.last_sale_day, ', as a count shows, and when it sells again is ',
            'not known: {{ exception_remedy('pause_without_end') }}'
        ) as remedy
    from silences
    cross join as_of
    where silences.until_day is null
    union all
    select
        'location' as exception_source, 'source_silent' as exception_cause, cast(null as varchar) as sku, source_silences.location_id,
        as_of.as_of_date,
        concat(
            'no sales of source ', source_silences.source, ' have arrived from ', source_silences.location_id, ' since ',
            source_silences.last_sale_day, ', on ', source_silences.silent_days, ' days on which others sold there (',
            source_silences.longest_before_days, ' at most before): {{ exception_remedy('source_silent') }}'
        ) as remedy
    from source_silences
    cross join as_of
)

select * from to_mend
