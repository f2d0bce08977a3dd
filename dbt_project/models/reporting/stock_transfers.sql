with transfers as (
    select * from {{ source('predictions', 'stock_transfers') }}
),

products as (
    select * from {{ ref('dim_products') }}
),

described as (
    select
        transfers.sku,
        products.product_name,
        transfers.from_location_id,
        transfers.to_location_id,
        transfers.as_of_date,
        {{ units('transfers.units') }} as transfer_units,
        {{ add_days('transfers.as_of_date', 'transfers.arrival_period') }} as expected_arrival_date,
        cast(transfers.transfer_cost as decimal(18, 4)) as transfer_cost
    from transfers
    inner join products on transfers.sku = products.sku
)

select * from described
