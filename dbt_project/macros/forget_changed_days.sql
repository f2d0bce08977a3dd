{#
    Invalidation of the incremental tables. Each table keeps, row by row, the fingerprint of what the row was made from. Before
    a model appends, the macro of its name (forget_changed_movements, _balances, _demand) compares those fingerprints with what
    the upstream says now and deletes every pair of sku and location from its first differing day on; the model then appends
    whatever follows the last row kept. So late arrivals, corrections, released rows, recounts and a moved as_of all end in what a full refresh gives, and a day on which
    nothing of the past changed touches the new day only.

    A change of SQL, of a var other than as_of and ingested_until, or of an engine's fingerprint function needs --full-refresh.
#}

{# A backfill: days from var rebuild_from on are made again, whether anything changed or not. #}
{% macro forget_days_to_rebuild() %}
    {% if is_incremental() and var('rebuild_from', none) is not none %}
        delete from {{ this }} where day >= cast('{{ var("rebuild_from") }}' as date)
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
