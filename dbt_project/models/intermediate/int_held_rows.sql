with held as (
    select * from {{ ref('int_held_references') }}
    union all
    select * from {{ ref('int_held_movements') }}
    union all
    select * from {{ ref('int_held_links') }}
),

-- What an unknown code may stand for: the one known code with the same core.
known_codes as (
    select 'unknown_sku' as rule, sku as code from {{ ref('stg_products') }}
    union all
    select 'unknown_location' as rule, location_id as code from {{ ref('stg_locations') }}
    union all
    select 'unknown_supplier' as rule, supplier_id as code from {{ ref('stg_suppliers') }}
),

cores as (
    select rule, {{ core_of_code('code') }} as core, min(code) as code
    from known_codes
    group by all
    having count(distinct code) = 1
),

unknown as (
    select
        *,
        case rule
            when 'unknown_sku' then sku
            when 'unknown_location' then location_id
            when 'unknown_supplier' then supplier_id
        end as unknown_code
    from held
),

compared as (
    select
        unknown.*,
        case
            when cores.code is null then ''
            when unknown.source_file = 'online_store'
                then concat('''', cores.code, ''' exists: if it is that, send the event again with it and the next revision; else ')
            else
                concat(
                    '''', cores.code, ''' exists: if it is that, map it for good, `inventorybot quarantine map REFERENCE ''', cores.code,
                    '''`; else '
                )
        end as near_miss
    from unknown
    left join cores on unknown.rule = cores.rule and {{ core_of_code('unknown.unknown_code') }} = cores.core
),

explained as (
    select
        table_name, batch_id, ingested_at, source_file, source_row, original_text, rule,
        case rule
            when 'unknown_sku'
                then concat('sku ''', sku, ''' is not among the products: ', near_miss, 'load the product, or correct or discard the row; every run tries it again')
            when 'unknown_location'
                then concat('location ''', location_id, ''' is not among the locations: ', near_miss, 'load the location, or correct or discard the row; every run tries it again')
            when 'unknown_supplier'
                then concat('supplier ''', supplier_id, ''' is not among the suppliers: ', near_miss, 'load the supplier, or correct or discard the row; every run tries it again')
            when 'unknown_category'
                then concat(
                    'category ''', category, ''' has no product: correct the row, or load a product of that category; every run tries ',
                    'it again'
                )
            when 'link_to_itself' then concat('sku ''', sku, ''' follows itself: correct or discard the row')
            when 'link_cycle'
                then concat(
                    'sku ''', sku, ''' follows itself by way of other links: discard the link that points back, and send the others again'
                )
            when 'link_units'
                then concat(
                    'sku ''', sku, ''' is counted in another unit than its predecessor, whose units would count as its own: give both the ',
                    'same unit (previous_units_per_unit = 1 in products where only its name differs), or discard the link'
                )
            when 'link_shares'
                then concat(
                    'the shares that the successors of ''', sku, ''' take are more than 1 together: correct them so that they add up to 1 at most'
                )
            when 'improbable_date'
                then concat(
                    'check the year: it is dated ', occurred_at, ', far from all other movements; correct or discard the row',
                    case
                        when table_name = 'stock_movements'
                            then ', or send the line again with its right date under a higher revision'
                        else ''
                    end,
                    '; if the date is right, it counts once further days around it have movements'
                )
            else
                concat('it happened at ', occurred_at, ', after the last complete day; it counts once that day is complete')
        end as reason
    from compared
    union all
    select table_name, batch_id, ingested_at, source_file, source_row, original_text, rule, reason
    from {{ ref('int_held_products') }}
)

select * from explained
