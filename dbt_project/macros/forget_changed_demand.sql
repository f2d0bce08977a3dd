{# Invalidation of daily demand; how it works: forget_changed_days.sql. #}

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
            inner join {{ ref('int_location_days') }} as location_days
                on
                    balances.location_id = location_days.location_id
                    and balances.day = location_days.day
                    and location_days.is_observed
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

        {# Prices, calendar and lost sales, as far as the rows built so far could see them. #}
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
