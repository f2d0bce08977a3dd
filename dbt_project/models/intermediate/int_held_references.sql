{{ config(materialized='ephemeral') }}

with supplier_terms as (
    select * from {{ ref('stg_supplier_terms') }}
),

purchase_order_lines as (
    select * from {{ ref('stg_purchase_order_lines') }}
),

reservations as (
    select * from {{ ref('stg_reservations') }}
),

stock_lots as (
    select * from {{ ref('stg_stock_lots') }}
),

prices as (
    select * from {{ ref('stg_prices') }}
),

calendar_events as (
    select * from {{ ref('stg_calendar_events') }}
),

product_seasons as (
    select * from {{ ref('stg_product_seasons') }}
),

products as (
    select * from {{ ref('stg_products') }}
),

categories as (
    select distinct category from products
),

locations as (
    select * from {{ ref('stg_locations') }}
),

suppliers as (
    select * from {{ ref('stg_suppliers') }}
),

referring as (
    select
        'supplier_terms' as table_name, batch_id, ingested_at, source_file, source_row, sku, location_id, supplier_id,
        cast(null as varchar) as category,
        concat_ws(',', sku, location_id, supplier_id, lead_time_days, unit_cost) as row_text
    from supplier_terms
    union all
    select
        'purchase_order_lines', batch_id, ingested_at, source_file, source_row, sku, location_id, cast(null as varchar), cast(null as varchar),
        concat_ws(',', purchase_order_id, line, supplier_id, sku, location_id, ordered_at, expected_date, ordered_units, status)
    from purchase_order_lines
    union all
    select
        'reservations', batch_id, ingested_at, source_file, source_row, sku, location_id, cast(null as varchar), cast(null as varchar),
        concat_ws(',', sku, location_id, document, reserved_units, backordered_units)
    from reservations
    union all
    select
        'stock_lots', batch_id, ingested_at, source_file, source_row, sku, location_id, cast(null as varchar), cast(null as varchar),
        concat_ws(',', sku, location_id, lot_id, expires_date)
    from stock_lots
    union all
    select
        'prices', batch_id, ingested_at, source_file, source_row, sku, location_id, cast(null as varchar), cast(null as varchar),
        concat_ws(',', sku, location_id, from_date, to_date, unit_price)
    from prices
    union all
    select
        'calendar_events', batch_id, ingested_at, source_file, source_row, cast(null as varchar), location_id, cast(null as varchar), cast(null as varchar),
        concat_ws(',', date, country, event_name, event_type, location_id)
    from calendar_events
    union all
    select
        'product_seasons', batch_id, ingested_at, source_file, source_row, sku, cast(null as varchar), cast(null as varchar), category,
        concat(coalesce(sku, ''), ',', coalesce(category, ''), ',', coalesce(cast(from_date as varchar), ''), ',', to_date)
    from product_seasons
),

checked as (
    select
        referring.*,
        case
            when referring.sku is not null and products.sku is null then 'unknown_sku'
            when referring.category is not null and categories.category is null then 'unknown_category'
            when referring.location_id is not null and locations.location_id is null then 'unknown_location'
            when referring.supplier_id is not null and suppliers.supplier_id is null then 'unknown_supplier'
        end as rule
    from referring
    left join products on referring.sku = products.sku
    left join categories on referring.category = categories.category
    left join locations on referring.location_id = locations.location_id
    left join suppliers on referring.supplier_id = suppliers.supplier_id
),

held_references as (
    select
        table_name, batch_id, ingested_at, source_file, source_row, row_text as original_text, rule, sku, location_id, supplier_id,
        category,
        cast(null as timestamp with time zone) as occurred_at
    from checked
    where rule is not null
)

select * from held_references
