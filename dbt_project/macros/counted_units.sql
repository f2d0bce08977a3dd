{#
The stock that each line of a count leaves, as the last step `counted_units`; needs `dated`. `fold` in serving/store/stock.py is the
same rule in Python.

- Lines of one document at one instant are one stocktake, by lot or by shelf: they add up. Lines that all name a lot also belong
  together within twelve hours.
- A stocktake with a line that names no lot counts the whole item.
- One whose lines all name a lot counts these lots. What is on record of a lot is its last count and what named it since; what lots
  have on record beyond the stock was sold without naming a lot. What is found more of the counted lots than is on record adds to
  stock. What is found less was first sold so; only the rest takes from stock. Stock is so at least what was counted, and at most
  what all lots have on record.
#}

{% macro counted_units(movement_columns) %}
{% set of_item = 'partition by sku, location_id ' ~ fold_order() %}
{{ lot_records(movement_columns) }}

count_lines as (
    select
        *,
        row_number() over ({{ of_item }}) as place,
        coalesce(
            source = lag(source) over ({{ of_item }})
            and document = lag(document) over ({{ of_item }})
            and (
                occurred_at = lag(occurred_at) over ({{ of_item }})
                or (
                    lot_id is not null
                    and lag(lot_id) over ({{ of_item }}) is not null
                    and occurred_at <= lag(occurred_at) over ({{ of_item }}) + interval 12 hour
                )
            ), false
        ) as is_continued
    from record_totals
    where movement_type = 'count'
),

stocktakes as (
    select *, sum(case when is_continued then 0 else 1 end) over ({{ of_item }}) as stocktake from count_lines
),

stocktake_lines as (
    select *, row_number() over (partition by sku, location_id, stocktake, lot_id order by place) = 1 as is_first_of_lot
    from stocktakes
),

-- Once, and not again at each line that the recursion takes.
stocktake_sums as materialized (
    select
        *,
        sum(case when lot_id is null then quantity_units when is_first_of_lot then record_units else found_units end)
            over (partition by sku, location_id, stocktake order by place) as lines_units,
        sum(found_units) over (partition by sku, location_id, stocktake order by place) as stocktake_found_units,
        bool_or(lot_id is null) over (partition by sku, location_id, stocktake order by place) as is_whole
    from stocktake_lines
),

-- What lots that a stocktake leaves out may hold depends on the stock before it, and so on the one before: line after line.
lot_counts as (
    select
        sku,
        location_id,
        cast(0 as bigint) as place,
        cast(null as varchar) as source,
        cast(null as varchar) as document,
        cast(null as integer) as line,
        cast(0 as decimal(38, 3)) as counted_units,
        cast(0 as decimal(38, 3)) as apart_before_units,
        cast(0 as decimal(38, 3)) as apart_units
    from items_counted_by_lot
    union all
    select
        sku,
        location_id,
        place,
        source,
        document,
        line,
        counted_units,
        apart_before_units,
        cast(counted_units - moved_units as decimal(38, 3)) as apart_units
    from (
        select
            *,
            cast(
                case
                    when is_whole then lines_units
                    else greatest(
                        lines_units, least(all_lots_units, apart_before_units + moved_units + greatest(stocktake_found_units, 0))
                    )
                end as decimal(38, 3)
            ) as counted_units
        from (
            select
                stocktake_sums.*,
                case
                    when stocktake_sums.is_continued then lot_counts.apart_before_units else lot_counts.apart_units
                end as apart_before_units
            from lot_counts
            inner join stocktake_sums
                on
                    lot_counts.sku = stocktake_sums.sku
                    and lot_counts.location_id = stocktake_sums.location_id
                    and lot_counts.place + 1 = stocktake_sums.place
        ) as lines_after_counts
    ) as folded_lines
),

counted_units as (
    select source, document, line, counted_units from lot_counts where place > 0
    union all
    select
        source,
        document,
        line,
        sum(quantity_units) over (partition by sku, location_id, source, document, occurred_at order by line) as counted_units
    from dated
    anti join items_counted_by_lot using (sku, location_id)
    where movement_type = 'count'
)
{% endmacro %}
