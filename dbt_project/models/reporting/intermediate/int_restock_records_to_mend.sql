with positions as (
    select * from {{ ref('fct_stock_position') }}
),

item_locations as (
    select * from {{ ref('dim_item_locations') }}
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
)

select * from to_mend
