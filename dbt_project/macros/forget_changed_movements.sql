{# Invalidation of the folded movements; how it works: forget_changed_days.sql. #}

{% macro forget_changed_movements() %}
    {# Outside the condition: there dbt finds dependencies. #}
    {% set clocks = ref('int_location_clocks') %}
    {% set products = ref('stg_products') %}
    {% set arrivals = ref('int_movement_arrivals') %}
    {% set superseded = ref('int_superseded_movements') %}
    {% set raw_movements = ref('int_reported_movements') %}
    {% set effective = ref('int_effective_movements') %}
    {% if is_incremental() %}
        create or replace temporary table changed_movements as
        with built_to as (
            select max(day) as day from {{ this }}
        ),

        clocks as (
            select
                location_id,
                zone_fingerprint,
                least(known_until, {{ start_of_local_day(add_days('built_to.day', 1), 'time_zone') }}) as compared_until
            from {{ clocks }}
            cross join built_to
        ),

        -- Of most batches all that arrived of an item is compared; the rest are looked at row by row.
        arrivals as (
            select arrivals.*, clocks.zone_fingerprint, clocks.compared_until, arrivals.latest_at < clocks.compared_until as is_whole
            from {{ arrivals }} as arrivals
            inner join {{ products }} as products on arrivals.sku = products.sku
            inner join clocks on arrivals.location_id = clocks.location_id
        ),

        torn as materialized (
            select * from arrivals where not is_whole
        ),

        parts as (
            select sku, location_id, rows_fingerprint + movement_count * cast(zone_fingerprint as decimal(38, 0)) as total
            from arrivals
            where is_whole
            union all
            select torn.sku, torn.location_id, movements.row_fingerprint + torn.zone_fingerprint
            from {{ raw_movements }} as movements
            inner join torn
                on
                    movements.batch_id = torn.batch_id
                    and movements.sku = torn.sku
                    and movements.location_id = torn.location_id
            where movements.occurred_at < torn.compared_until
            union all
            select superseded.sku, superseded.location_id, -superseded.row_fingerprint - clocks.zone_fingerprint
            from {{ superseded }} as superseded
            inner join {{ products }} as products on superseded.sku = products.sku
            inner join clocks on superseded.location_id = clocks.location_id
            where superseded.occurred_at < clocks.compared_until
        ),

        upstream_pairs as (
            select sku, location_id, sum(total) as total from parts group by sku, location_id
        ),

        own_pairs as (
            select sku, location_id, sum(content_fingerprint) as total from {{ this }} group by sku, location_id
        )

        select sku, location_id, clocks.compared_until
        from own_pairs
        full join upstream_pairs using (sku, location_id)
        left join clocks using (location_id)
        where coalesce(own_pairs.total, 0) <> coalesce(upstream_pairs.total, 0);

        delete from {{ this }} as kept
        using (
            with upstream_days as (
                select
                    movements.sku,
                    movements.location_id,
                    {{ local_day('movements.occurred_at', 'movements.time_zone') }} as day,
                    sum(movements.content_fingerprint) as total
                from {{ effective }} as movements
                inner join changed_movements as changed
                    on
                        movements.sku = changed.sku
                        and movements.location_id = changed.location_id
                        and movements.occurred_at < changed.compared_until
                group by movements.sku, movements.location_id, {{ local_day('movements.occurred_at', 'movements.time_zone') }}
            ),

            own_days as (
                select sku, location_id, day, sum(content_fingerprint) as total
                from {{ this }}
                inner join changed_movements using (sku, location_id)
                group by sku, location_id, day
            )

            select sku, location_id, min(day) as first_day
            from own_days
            full join upstream_days using (sku, location_id, day)
            where own_days.total is distinct from upstream_days.total
            group by sku, location_id
        ) as changed
        where
            kept.sku = changed.sku
            and kept.location_id = changed.location_id
            and kept.day >= changed.first_day;

        {# Tables, not parts of the queries: the planner then knows how few rows they have, and leaves files unread. #}
        create or replace temporary table batches_to_append as
        with kept as (
            select sku, location_id, max(occurred_at) as kept_until from {{ this }} group by sku, location_id
        )

        select distinct arrivals.batch_id
        from {{ arrivals }} as arrivals
        inner join {{ products }} as products on arrivals.sku = products.sku
        inner join {{ clocks }} as clocks on arrivals.location_id = clocks.location_id
        left join kept on arrivals.sku = kept.sku and arrivals.location_id = kept.location_id
        where kept.kept_until is null or arrivals.latest_at > kept.kept_until
    {% endif %}
{% endmacro %}
