{#
    Invalidation of the incremental tables. Each table keeps, row by row, the fingerprint of what the row was made from. Before
    a model appends, the macro below it compares those fingerprints with what the upstream says now and deletes every pair of
    sku and location from its first differing day on; the model then appends whatever follows the last row kept. So late
    arrivals, corrections, released rows, recounts and a moved as_of all end in what a full refresh gives, and a day on which
    nothing of the past changed touches the new day only.

    A change of SQL, of a var other than as_of and ingested_until, or of an engine's fingerprint function needs --full-refresh.
#}

{# A backfill: days from var rebuild_from on are made again, whether anything changed or not. #}
{% macro forget_days_to_rebuild() %}
    {% if is_incremental() and var('rebuild_from', none) is not none %}
        delete from {{ this }} where day >= cast('{{ var("rebuild_from") }}' as date)
    {% endif %}
{% endmacro %}


{% macro forget_changed_movements() %}
    {# Outside the condition: there dbt finds dependencies. #}
    {% set clocks = ref('int_location_clocks') %}
    {% set products = ref('stg_products') %}
    {% set arrivals = ref('int_movement_arrivals') %}
    {% set superseded = ref('int_superseded_movements') %}
    {% set raw_movements = ref('stg_stock_movements') %}
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


{# For a daily table: `upstream` is a query of sku, location_id, day, fingerprint; the table keeps it as inputs_fingerprint. #}
{% macro forget_changed_days(upstream) %}
        delete from {{ this }} as kept
        using (
            with upstream as (
                select sku, location_id, day, sum(fingerprint) as fingerprint
                from (
                    {{ upstream }}
                ) as changes
                group by sku, location_id, day
            ),

            own_pairs as (
                select sku, location_id, max(day) as built_to, sum(inputs_fingerprint) as total
                from {{ this }}
                group by sku, location_id
            ),

            upstream_pairs as (
                select upstream.sku, upstream.location_id, sum(upstream.fingerprint) as total
                from upstream
                inner join own_pairs using (sku, location_id)
                where upstream.day <= own_pairs.built_to
                group by upstream.sku, upstream.location_id
            ),

            changed_pairs as (
                select sku, location_id, own_pairs.built_to
                from own_pairs
                left join upstream_pairs using (sku, location_id)
                where own_pairs.total <> coalesce(upstream_pairs.total, 0)
            ),

            upstream_days as (
                select upstream.sku, upstream.location_id, upstream.day, sum(upstream.fingerprint) as total
                from upstream
                inner join changed_pairs using (sku, location_id)
                where upstream.day <= changed_pairs.built_to
                group by upstream.sku, upstream.location_id, upstream.day
            ),

            own_days as (
                select sku, location_id, day, inputs_fingerprint as total
                from {{ this }}
                inner join changed_pairs using (sku, location_id)
            )

            select sku, location_id, min(day) as first_day
            from own_days
            full join upstream_days using (sku, location_id, day)
            where coalesce(own_days.total, 0) <> coalesce(upstream_days.total, 0)
            group by sku, location_id
        ) as changed
        where
            kept.sku = changed.sku
            and kept.location_id = changed.location_id
            and kept.day >= changed.first_day
{% endmacro %}


{#
    Days outside the life of the series: as_of moved back, the series ended, or its first movement went. After the comparison: a
    first day that is gone changes every day after it.
#}
{% macro forget_days_outside_spans() %}
        delete from {{ this }} as kept
        using (
            with own_pairs as (
                select sku, location_id, min(day) as built_from, max(day) as built_to
                from {{ this }}
                group by sku, location_id
            )

            select own_pairs.sku, own_pairs.location_id, spans.active_from, spans.last_day
            from own_pairs
            left join {{ ref('int_item_location_spans') }} as spans
                on own_pairs.sku = spans.sku and own_pairs.location_id = spans.location_id
            where
                spans.sku is null
                or own_pairs.built_from < spans.active_from
                or own_pairs.built_to > spans.last_day
        ) as outside
        where
            kept.sku = outside.sku
            and kept.location_id = outside.location_id
            and (outside.active_from is null or kept.day < outside.active_from or kept.day > outside.last_day)
{% endmacro %}


{% macro forget_changed_balances() %}
    {% if is_incremental() %}
        {% set upstream %}
            select sku, location_id, day, content_fingerprint as fingerprint from {{ ref('int_folded_movements') }}
            union all
            select sku, location_id, day, cancellations_fingerprint as fingerprint from {{ ref('int_sale_cancellations') }}
        {% endset %}
        {{ forget_changed_days(upstream) }};
        {{ forget_days_outside_spans() }}
    {% endif %}
{% endmacro %}


{% macro forget_changed_demand() %}
    {% set contexts_of_last_rows = demand_contexts('last_rows') %}
    {% if is_incremental() %}
        {% set upstream %}
            select balances.sku, balances.location_id, balances.day, balances.inputs_fingerprint as fingerprint
            from {{ ref('int_daily_balances') }} as balances
            inner join {{ ref('int_item_location_spans') }} as spans
                on
                    balances.sku = spans.sku
                    and balances.location_id = spans.location_id
                    and balances.day >= spans.demand_from
        {% endset %}
        {{ forget_changed_days(upstream) }};
        {{ forget_days_outside_spans() }};

        {# A launch date was given, moved or taken away. #}
        delete from {{ this }} as kept
        using (
            with own_pairs as (
                select sku, location_id, min(day) as built_from from {{ this }} group by sku, location_id
            )

            select own_pairs.sku, own_pairs.location_id
            from own_pairs
            inner join {{ ref('int_item_location_spans') }} as spans
                on own_pairs.sku = spans.sku and own_pairs.location_id = spans.location_id
            where own_pairs.built_from <> spans.demand_from
        ) as moved
        where kept.sku = moved.sku and kept.location_id = moved.location_id;

        {# Prices and calendar, as far as the rows built so far could see them. #}
        delete from {{ this }} as kept
        using (
            with last_rows as (
                select sku, location_id, max(day) as until_day
                from {{ this }}
                group by sku, location_id
            ),

            remembered as (
                select last_rows.*, built.context_fingerprint
                from last_rows
                inner join {{ this }} as built
                    on
                        last_rows.sku = built.sku
                        and last_rows.location_id = built.location_id
                        and last_rows.until_day = built.day
            ),

            {{ contexts_of_last_rows }}

            select remembered.sku, remembered.location_id
            from remembered
            left join demand_contexts using (sku, location_id)
            where remembered.context_fingerprint is distinct from demand_contexts.context_fingerprint
        ) as changed
        where kept.sku = changed.sku and kept.location_id = changed.location_id
    {% endif %}
{% endmacro %}


{#
    CTEs ending in `demand_contexts`: the fingerprint of everything but movements that shapes the demand rows of a series up to its
    `until_day`: list price, prices and promotions, events of the country. What lies after that day does not enter, so planned
    promotions change nothing that is past.
#}
{% macro demand_contexts(spans) %}
            price_contexts as (
                select
                    spans.sku,
                    spans.location_id,
                    sum({{ fingerprint([
                        'prices.location_id is null', 'prices.from_date', 'least(prices.to_date, spans.until_day)',
                        'prices.unit_price', 'prices.is_promotion'
                    ]) }}) as total
                from {{ spans }} as spans
                inner join {{ ref('stg_prices') }} as prices
                    on
                        spans.sku = prices.sku
                        and spans.until_day >= prices.from_date
                        and (prices.location_id is null or prices.location_id = spans.location_id)
                group by spans.sku, spans.location_id
            ),

            event_contexts as (
                select
                    until_days.location_id,
                    until_days.until_day,
                    sum({{ fingerprint(['events.date', 'events.event_name', 'events.event_type']) }}) as total
                from (select distinct location_id, until_day from {{ spans }}) as until_days
                inner join {{ ref('stg_locations') }} as locations on until_days.location_id = locations.location_id
                inner join {{ ref('stg_calendar_events') }} as events
                    on locations.country = events.country and until_days.until_day >= events.date
                group by until_days.location_id, until_days.until_day
            ),

            demand_contexts as (
                select
                    spans.sku,
                    spans.location_id,
                    {{ fingerprint(['products.unit_price', 'price_contexts.total', 'event_contexts.total']) }} as context_fingerprint
                from {{ spans }} as spans
                inner join {{ ref('stg_products') }} as products on spans.sku = products.sku
                left join price_contexts
                    on spans.sku = price_contexts.sku and spans.location_id = price_contexts.location_id
                left join event_contexts
                    on spans.location_id = event_contexts.location_id and spans.until_day = event_contexts.until_day
            )
{% endmacro %}
