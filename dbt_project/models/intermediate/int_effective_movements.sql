with stock_movements as (
    select * from {{ ref('int_reported_movements') }}
),

products as (
    select * from {{ ref('stg_products') }}
),

clocks as (
    select * from {{ ref('int_location_clocks') }}
),

superseded as (
    select * from {{ ref('int_superseded_movements') }}
),

effective as (
    select
        stock_movements.*,
        clocks.time_zone,
        stock_movements.row_fingerprint + clocks.zone_fingerprint as content_fingerprint
    from stock_movements
    inner join products on stock_movements.sku = products.sku
    inner join clocks on stock_movements.location_id = clocks.location_id
    left join superseded
        on
            stock_movements.table_name = superseded.table_name
            and stock_movements.batch_id = superseded.batch_id
            and stock_movements.source_file = superseded.source_file
            and stock_movements.source_row = superseded.source_row
    where
        superseded.batch_id is null
        and stock_movements.occurred_at < clocks.known_until
        and {{ can_be_right('stock_movements.occurred_at') }}
)

select * from effective
