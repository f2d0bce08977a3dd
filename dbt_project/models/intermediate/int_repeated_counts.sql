with movements as not materialized (
    select * from {{ ref('int_folded_movements') }}
),

counts as (
    select
        *,
        lag(source) over item as source_before,
        lag(document) over item as document_before,
        lag(line) over item as line_before,
        lag(lot_id) over item as lot_before,
        lag(quantity_units) over item as units_before,
        lag(occurred_at) over item as counted_before,
        lead(occurred_at) over item as counted_next,
        max(occurred_at) over (partition by sku, location_id) as last_counted,
        lag(line) over (
            partition by sku, location_id, source, document, occurred_at, lot_id, quantity_units order by line
        ) as same_line
    from movements
    where movement_type = 'count'
    window item as (partition by sku, location_id order by occurred_at, source, document, line)
),

-- A revision is a decision of somebody who looked.
repeated as (
    select *, 'counts_again' as doubt, concat(source_before, ':', document_before, ':', line_before) as reference_before
    from counts
    where
        counted_next is null
        and revision = 0
        and occurred_at <= counted_before + interval 1 hour
        and not (source = source_before and document = document_before and occurred_at = counted_before)
        and lot_id is not distinct from lot_before
        and change_units <> 0
        and quantity_units <> units_before
),

-- Equal lines of one stocktake are two shelves, or one that was written twice.
alike as (
    select *, 'counts_alike' as doubt, concat(source, ':', document, ':', same_line) as reference_before
    from counts
    where same_line is not null and occurred_at = last_counted and revision = 0 and quantity_units <> 0
)

select * from repeated
union all
select * from alike
