with held as (
    select * from {{ ref('int_held_references') }}
    union all
    select * from {{ ref('int_held_movements') }}
),

explained as (
    select
        table_name, batch_id, ingested_at, source_file, source_row, original_text, rule,
        case rule
            when 'unknown_sku'
                then concat('sku ''', sku, ''' is not among the products: load the product, or correct or discard the row; every run tries it again')
            when 'unknown_location'
                then concat('location ''', location_id, ''' is not among the locations: load the location, or correct or discard the row; every run tries it again')
            when 'unknown_supplier'
                then concat('supplier ''', supplier_id, ''' is not among the suppliers: load the supplier, or correct or discard the row; every run tries it again')
            when 'unknown_category'
                then concat(
                    'category ''', category, ''' has no product: correct the row, or load a product of that category; every run tries ',
                    'it again'
                )
            when 'improbable_date'
                then concat(
                    'check the year: it is dated ', occurred_at, ', far from all other movements; correct or discard the row, or send the ',
                    'line again with its right date under a higher revision; if the date is right, it counts once further days around it ',
                    'have movements'
                )
            else
                concat('it happened at ', occurred_at, ', after the last complete day; it counts once that day is complete')
        end as reason
    from held
)

select * from explained
