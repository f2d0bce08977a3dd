{% set terms = [
    'expected_demand_units', 'safety_stock_units', 'expiring_units', 'order_up_to_units', 'on_hand_units', 'on_order_units',
    'on_order_not_counted_units', 'on_order_doubtful_units', 'reserved_units', 'backordered_units', 'inventory_position_units', 'shortfall_units',
    'moq_added_units', 'multiple_added_units', 'supplier_minimum_added_units', 'reduced_units', 'order_units', 'order_packs',
    'transfer_in_units', 'transfer_out_units', 'lost_units_without_order', 'lost_units_with_order', 'remainder_units'
] %}
{% set reductions = order_steps() | selectattr('stage', 'in', ['need', 'packs', 'person', 'sharing']) | selectattr('sign', 'lt', 0) | list %}
{# Least change of the demand that an order covers, as a share, from which its reason names last year's season. #}
{% set least_season = 0.05 %}
{#
    An item's forecast parts where it is this many times what its own recent pace leads to expect, or less than its inverse.
    Items are noisier than their categories, which part at 1.5.
#}
{% set item_factor = 2 %}

with restock_lines as (
    select * from {{ source('predictions', 'restock_lines') }}
),

restock_terms as (
    select * from {{ ref('restock_terms') }}
),

replenishment_terms as (
    select * from {{ ref('fct_replenishment_terms') }}
),

policies as (
    select * from {{ ref('restock_policies') }}
),

products as (
    select * from {{ ref('dim_products') }}
),

locations as (
    select * from {{ ref('dim_locations') }}
),

suppliers as (
    select * from {{ ref('dim_suppliers') }}
),

daily_demand as (
    select * from {{ ref('fct_daily_demand') }}
),

positions as (
    select * from {{ ref('fct_stock_position') }}
),

open_orders as (
    select * from {{ ref('fct_open_orders') }}
),

open_proposals as (
    select * from {{ source('predictions', 'open_proposals') }}
),

forecasts as (
    select * from {{ ref('fct_demand_forecasts') }}
),

forecast_season as (
    select * from {{ source('predictions', 'forecast_season') }}
),

forecast_totals as (
    select * from {{ ref('forecast_totals') }}
),

anomalies as (
    select * from {{ ref('fct_stock_anomalies') }}
),

forecast_notes as (
    select * from {{ source('predictions', 'forecast_notes') }}
),

rejected_needs as (
    select * from {{ source('predictions', 'rejected_needs') }}
),

previous_lines as (
    select * from {{ source('predictions', 'previous_restock_lines') }}
),

causes as (
    select sku, location_id, string_agg(cause, ', ' order by step, term) as causes_text
    from {{ ref('restock_changes') }}
    group by sku, location_id
),

as_of as (
    select max(as_of_date) as as_of_date from restock_lines
),

recent_sales as (
    select daily_demand.sku, daily_demand.location_id, sum(daily_demand.sales_units) as last_4_weeks_units
    from daily_demand
    cross join as_of
    where
        daily_demand.day > {{ add_days('as_of.as_of_date', -28) }}
        and daily_demand.day <= as_of.as_of_date
    group by daily_demand.sku, daily_demand.location_id
),

coming_demand as (
    select sku, location_id, sum(mean_units) as next_4_weeks_units
    from forecasts
    where periods_ahead between 1 and 28
    group by sku, location_id
),

-- What makes the record itself doubtful; a demand that jumps or drops does not.
doubts as (
    select sku, location_id, day as suspected_date, kind as suspected_kind
    from (
        select
            anomalies.*,
            row_number() over (
                partition by anomalies.sku, anomalies.location_id order by anomalies.day desc, anomalies.kind
            ) as latest_rank
        from anomalies
        cross join as_of
        where
            anomalies.day > {{ add_days('as_of.as_of_date', -28) }}
            and anomalies.kind not in ('none', 'demand_spike', 'demand_drop')
    ) as ranked
    where latest_rank = 1
),

supplier_orders as (
    select restock_lines.supplier_id, sum({{ units('restock_lines.order_units') }} * replenishment_terms.unit_cost) as order_value
    from restock_lines
    inner join replenishment_terms
        on restock_lines.sku = replenishment_terms.sku and restock_lines.location_id = replenishment_terms.location_id
    where restock_lines.status = 'order'
    group by restock_lines.supplier_id
),

next_deliveries as (
    select sku, location_id, min(expected_date) as next_delivery_date
    from (
        select sku, location_id, expected_date from open_orders where not is_doubtful
        union all
        select sku, location_id, expected_date from open_proposals
    ) as deliveries
    group by sku, location_id
),

doubtful_orders as (
    select sku, location_id, min(expected_date) as doubtful_since_date
    from open_orders
    where is_doubtful
    group by sku, location_id
),

-- What is planned beyond the protection interval concerns a later order.
notes as (
    select
        restock_lines.sku,
        restock_lines.location_id,
        max(case when forecast_notes.subject = 'new_item' then forecast_notes.note end) as new_item_note,
        max(case when forecast_notes.subject = 'season' then forecast_notes.note end) as woken_note,
        {{ dbt.listagg(
            "case when forecast_notes.subject = 'promotion' then forecast_notes.note end", "'. '",
            'order by forecast_notes.from_day'
        ) }} as promotion_note
    from restock_lines
    inner join forecast_notes
        on restock_lines.sku = forecast_notes.sku and restock_lines.location_id = forecast_notes.location_id
    where
        forecast_notes.from_day is null
        or forecast_notes.from_day <= {{ add_days('restock_lines.as_of_date', 'restock_lines.protection_periods') }}
    group by restock_lines.sku, restock_lines.location_id
),

reductions as (
    select
        sku,
        location_id
        {% for step in reductions %}
        , sum(case when term = '{{ step.name }}' then -term_units else 0 end) as {{ step.name }}_units
        {% endfor %}
    from restock_terms
    group by sku, location_id
),

lines as (
    select
        sku,
        location_id,
        supplier_id,
        as_of_date,
        status,
        exception,
        exception_cause,
        target_type,
        nullif(target_value, cast('nan' as double)) as target_value,
        protection_periods,
        arrival_period,
        stockout_period_50,
        stockout_period_10,
        {% for term in terms %}
        {{ units(term) }} as {{ term }},
        {% endfor %}
        nullif(stockout_probability_without_order, cast('nan' as double)) as stockout_probability_without_order,
        nullif(stockout_probability_with_order, cast('nan' as double)) as stockout_probability_with_order,
        nullif(days_of_cover_before, cast('nan' as double)) as days_of_cover_before,
        nullif(days_of_cover_after, cast('nan' as double)) as days_of_cover_after,
        forecast_model_version
    from restock_lines
),

-- Weeks whose forecast of the category parts, as far as an order has to cover them: what the item is forecast beyond what the
-- category leads to expect of it, and beyond its own pace of the last four weeks, moved as the category moved last year.
item_weeks as (
    select
        lines.sku,
        lines.location_id,
        {{ week_start('forecasts.day') }} as week_start,
        sum(forecasts.mean_units) as week_units,
        sum(case when forecasts.periods_ahead <= lines.protection_periods then forecasts.mean_units else 0 end) as covered_units
    from lines
    inner join forecasts on lines.sku = forecasts.sku and lines.location_id = forecasts.location_id
    where lines.status = 'order'
    group by lines.sku, lines.location_id, {{ week_start('forecasts.day') }}
),

doubtful_weeks as (
    select
        item_weeks.sku,
        item_weeks.location_id,
        item_weeks.week_start,
        item_weeks.covered_units,
        forecast_totals.note,
        item_weeks.covered_units * (1 - forecast_totals.usual_units / forecast_totals.forecast_units) as beyond_category,
        item_weeks.covered_units * (
            1
            - coalesce(recent_sales.last_4_weeks_units / 4 * forecast_totals.usual_units / nullif(forecast_totals.recent_units, 0), 0)
            / item_weeks.week_units
        ) as beyond_pace
    from item_weeks
    inner join products on item_weeks.sku = products.sku
    inner join forecast_totals
        on
            products.category = forecast_totals.category
            and item_weeks.week_start = forecast_totals.week_start
            and forecast_totals.is_parting
            and forecast_totals.forecast_units > 0
    left join recent_sales on item_weeks.sku = recent_sales.sku and item_weeks.location_id = recent_sales.location_id
    where item_weeks.covered_units > 0
),

doubtful_items as (
    select
        sku,
        location_id,
        sum(covered_units) as covered_units,
        sum(beyond_category) as beyond_category,
        sum(beyond_pace) as beyond_pace,
        least(abs(sum(beyond_category)), abs(sum(beyond_pace))) as doubtful_units
    from doubtful_weeks
    group by sku, location_id
),

-- A planner reads of it where the whole order hangs on it: the category parts, and so does the item, by no less than is ordered.
forecast_doubts as (
    select sku, location_id, note as forecast_note, doubtful_units, is_forecast_high
    from (
        select
            lines.sku,
            lines.location_id,
            doubtful_weeks.note,
            doubtful_items.doubtful_units,
            doubtful_items.beyond_pace > 0 as is_forecast_high,
            row_number() over (
                partition by lines.sku, lines.location_id
                order by doubtful_weeks.beyond_category * sign(doubtful_items.beyond_category) desc, doubtful_weeks.week_start
            ) as choice
        from lines
        inner join doubtful_items on lines.sku = doubtful_items.sku and lines.location_id = doubtful_items.location_id
        inner join doubtful_weeks on lines.sku = doubtful_weeks.sku and lines.location_id = doubtful_weeks.location_id
        where
            doubtful_items.beyond_category * doubtful_items.beyond_pace > 0
            and doubtful_items.doubtful_units >= lines.order_units
            and (
                doubtful_items.beyond_pace >= (1 - 1 / {{ item_factor }}) * doubtful_items.covered_units
                or doubtful_items.beyond_pace <= (1 - {{ item_factor }}) * doubtful_items.covered_units
            )
    ) as ranked
    where choice = 1
),

-- What last year's season adds to the demand that an order has to cover; days beyond its factors have the factor 1.
seasons as (
    select
        lines.sku,
        lines.location_id,
        sum(forecasts.mean_units) - sum(forecasts.mean_units / coalesce(forecast_season.factor, 1)) as season_units,
        sum(forecasts.mean_units) / nullif(sum(forecasts.mean_units / coalesce(forecast_season.factor, 1)), 0) - 1 as season_change,
        max(forecast_season.trust) as season_trust
    from lines
    inner join forecasts
        on
            lines.sku = forecasts.sku
            and lines.location_id = forecasts.location_id
            and forecasts.periods_ahead between 1 and lines.protection_periods
    left join forecast_season on forecasts.day = forecast_season.day
    group by lines.sku, lines.location_id
),

deliveries_after_sale as (
    select deliveries.sku, deliveries.location_id, sum(deliveries.open_units) as after_sale_units
    from (
        select sku, location_id, expected_date, open_units from open_orders
        union all
        select sku, location_id, expected_date, {{ units('open_units') }} as open_units from open_proposals
    ) as deliveries
    inner join replenishment_terms
        on deliveries.sku = replenishment_terms.sku and deliveries.location_id = replenishment_terms.location_id
    where deliveries.expected_date > replenishment_terms.last_sale_date
    group by deliveries.sku, deliveries.location_id
),

dated as (
    select
        lines.*,
        products.product_name,
        locations.location_name,
        suppliers.supplier_name,
        policies.policy_source,
        policies.policy_note,
        nullif(
            concat_ws(
                '. ',
                case
                    when notes.new_item_note is not null and reductions.order_up_to_max_units > 0
                        then concat(
                            notes.new_item_note, '; its first order is limited to ', policies.first_order_days,
                            ' days of that (policy first_order_days)'
                        )
                    else notes.new_item_note
                end,
                notes.woken_note,
                notes.promotion_note
            ),
            ''
        ) as forecast_basis,
        replenishment_terms.unit_cost,
        replenishment_terms.lead_time_days,
        replenishment_terms.lead_time_source,
        replenishment_terms.lead_time_receipts_count,
        replenishment_terms.review_period_days,
        replenishment_terms.moq_units,
        coalesce(replenishment_terms.order_multiple_units, 1) as pack_units,
        replenishment_terms.minimum_order_value as supplier_minimum_order_value,
        coalesce(supplier_orders.order_value, 0) as supplier_order_value,
        greatest(replenishment_terms.unit_price - replenishment_terms.unit_cost, 0) as unit_margin,
        coalesce(recent_sales.last_4_weeks_units, 0) as last_4_weeks_units,
        coming_demand.next_4_weeks_units,
        positions.last_counted_date,
        coalesce(positions.is_negative, false) as is_negative,
        doubts.suspected_date,
        doubts.suspected_kind,
        previous_lines.decided_date as previous_decided_date,
        previous_lines.protection_periods as previous_protection_periods,
        previous_lines.forecast_model_version as previous_forecast_model_version,
        {{ units('previous_lines.order_units') }} as previous_order_units,
        {{ units('previous_lines.on_order_doubtful_units') }} as previous_on_order_doubtful_units,
        causes.causes_text,
        {% for step in reductions %}
        reductions.{{ step.name }}_units,
        {% endfor %}
        rtrim(rejected_needs.rejection, '.') as rejection,
        next_deliveries.next_delivery_date,
        doubtful_orders.doubtful_since_date,
        replenishment_terms.last_sale_date,
        deliveries_after_sale.after_sale_units,
        forecast_doubts.forecast_note,
        forecast_doubts.doubtful_units,
        forecast_doubts.is_forecast_high,
        -- An item that wakes is forecast by its own seasons, whatever last year does to the others.
        case when notes.woken_note is null then seasons.season_units end as season_units,
        seasons.season_change,
        seasons.season_trust,
        coalesce(trim(suppliers.order_weekdays), '') <> '' as has_order_days,
        {{ add_days('lines.as_of_date', 'replenishment_terms.next_order_in_days + 1') }} as next_order_date,
        {{ add_days('lines.as_of_date', 'lines.arrival_period') }} as arrival_date,
        {{ add_days('lines.as_of_date', 'lines.stockout_period_50') }} as stockout_date_50,
        {{ add_days('lines.as_of_date', 'lines.stockout_period_10') }} as stockout_date_10
    from lines
    inner join products on lines.sku = products.sku
    inner join locations on lines.location_id = locations.location_id
    left join suppliers on lines.supplier_id = suppliers.supplier_id
    left join replenishment_terms
        on lines.sku = replenishment_terms.sku and lines.location_id = replenishment_terms.location_id
    left join policies on lines.sku = policies.sku and lines.location_id = policies.location_id
    left join positions on lines.sku = positions.sku and lines.location_id = positions.location_id
    left join next_deliveries
        on lines.sku = next_deliveries.sku and lines.location_id = next_deliveries.location_id
    left join doubtful_orders
        on lines.sku = doubtful_orders.sku and lines.location_id = doubtful_orders.location_id
    left join deliveries_after_sale
        on lines.sku = deliveries_after_sale.sku and lines.location_id = deliveries_after_sale.location_id
    left join forecast_doubts on lines.sku = forecast_doubts.sku and lines.location_id = forecast_doubts.location_id
    left join seasons on lines.sku = seasons.sku and lines.location_id = seasons.location_id
    left join reductions on lines.sku = reductions.sku and lines.location_id = reductions.location_id
    left join rejected_needs
        on lines.sku = rejected_needs.sku and lines.location_id = rejected_needs.location_id
    left join notes on lines.sku = notes.sku and lines.location_id = notes.location_id
    left join recent_sales on lines.sku = recent_sales.sku and lines.location_id = recent_sales.location_id
    left join coming_demand on lines.sku = coming_demand.sku and lines.location_id = coming_demand.location_id
    left join doubts on lines.sku = doubts.sku and lines.location_id = doubts.location_id
    left join supplier_orders on lines.supplier_id = supplier_orders.supplier_id
    left join previous_lines on lines.sku = previous_lines.sku and lines.location_id = previous_lines.location_id
    left join causes on lines.sku = causes.sku and lines.location_id = causes.location_id
),

changes as (
    select *, order_units - previous_order_units as change_units from dated
),

scheduled as (
    select
        *,
        {{ add_days('stockout_date_10', '-lead_time_days') }} as last_safe_order_date,
        {{ add_days('next_order_date', 'review_period_days - 1') }} as before_next_review_date
    from changes
),

-- The sentence shows one decimal and still adds up: the level is rounded, and what is left after the expected demand is the
-- uncertainty. Where that would show a shortfall as nothing, all decimals are shown.
shown as (
    select
        *,
        case when shown_decimals = 1 then round(order_up_to_units, 1) else order_up_to_units end as shown_level,
        case when shown_decimals = 1 then round(expected_demand_units, 1) else expected_demand_units end as shown_expected
    from (
        select
            *,
            case
                when shortfall_units > 0 and round(order_up_to_units, 1) - inventory_position_units <= 0 then 3
                else 1
            end as shown_decimals
        from scheduled
    ) as decided
),

worded as (
    select
        *,
        concat(
            {{ number_text('shown_expected') }}, ' expected over ', protection_periods,
            case when protection_periods = 1 then ' day' else ' days' end,
            case when shown_level >= shown_expected then ' + ' else ' − ' end,
            {{ number_text('abs(shown_level - shown_expected)') }},
            case when shown_level >= shown_expected then ' for uncertainty' else ' that the target leaves uncovered' end,
            case when expiring_units > 0 then concat(' (', {{ number_text('expiring_units') }}, ' for lots that expire)') else '' end,
            case when reserved_units <> 0 then concat(' + ', {{ number_text('reserved_units') }}, ' reserved') else '' end,
            case when backordered_units <> 0 then concat(' + ', {{ number_text('backordered_units') }}, ' backordered') else '' end,
            case
                when transfer_out_units > 0 then concat(' (', {{ number_text('transfer_out_units') }}, ' for another location)')
                else ''
            end,
            ' − ', {{ number_text('on_hand_units') }}, ' on hand − ', {{ number_text('on_order_units') }}, ' on order',
            case
                when transfer_in_units > 0 then concat(' (', {{ number_text('transfer_in_units') }}, ' from another location)')
                else ''
            end
        ) as sum_text,
        concat(
            {% for step in reductions | selectattr('stage', 'eq', 'need') %}
            {{ less_text(step.name ~ '_units', step.less) }},
            {% endfor %}
            case
                when moq_added_units > 0
                    then concat(', raised to the minimum order of ', {{ number_text('moq_units') }})
                else ''
            end,
            case
                when multiple_added_units > 0 and moq_added_units > 0 then ' and rounded up to '
                when multiple_added_units > 0 then ', rounded up to '
                else ''
            end,
            case
                when multiple_added_units > 0 and pack_units = 1 then 'whole units'
                when multiple_added_units > 0 then 'packs'
                else ''
            end,
            {% for step in reductions | selectattr('stage', 'eq', 'packs') %}
            {{ less_text(step.name ~ '_units', step.less) }},
            {% endfor %}
            case
                when rejected_units > 0 then concat(', less ', {{ number_text('rejected_units') }}, ' ', rejection)
                else ''
            end,
            case
                when supplier_minimum_added_units > 0
                    then concat(
                        ', ', {{ number_text('supplier_minimum_added_units') }}, ' more for the supplier''s minimum of ',
                        {{ number_text('supplier_minimum_order_value') }}
                    )
                else ''
            end
            {% for step in reductions | selectattr('stage', 'eq', 'sharing') %}
            , {{ less_text(step.name ~ '_units', step.less) }}
            {% endfor %}
        ) as steps_text,
        case
            when change_units is null then null
            when change_units = 0 then concat('As last published, for ', previous_decided_date, '.')
            else concat(
                {{ number_text('abs(change_units)') }}, case when change_units > 0 then ' more' else ' less' end,
                ' than last published, for ', previous_decided_date, ': ',
                concat_ws(
                    '; ', causes_text,
                    case
                        when on_order_doubtful_units > previous_on_order_doubtful_units
                            then concat(
                                {{ number_text('on_order_doubtful_units - previous_on_order_doubtful_units') }},
                                ' of the units on order count no longer, they are later than their supplier ever was'
                            )
                        when on_order_doubtful_units < previous_on_order_doubtful_units
                            then concat(
                                {{ number_text('previous_on_order_doubtful_units - on_order_doubtful_units') }},
                                ' units on order that had been doubtful are so no longer'
                            )
                    end,
                    case
                        when protection_periods <> previous_protection_periods
                            then concat('the order covers ', protection_periods, ' days, then ', previous_protection_periods)
                    end,
                    case
                        when forecast_model_version <> previous_forecast_model_version
                            then concat(
                                'the forecast is of version ', forecast_model_version, ', then ', previous_forecast_model_version
                            )
                    end
                ),
                '.'
            )
        end as change_reason,
        concat_ws(
            '; ',
            case when is_negative then 'stock on record is negative' end,
            case when suspected_kind is not null then concat(replace(suspected_kind, '_', ' '), ' suspected on ', suspected_date) end,
            case
                when last_counted_date is null then 'never counted'
                when last_counted_date > as_of_date then concat('counted on ', last_counted_date, ', the day that is running')
                else concat('counted ', {{ days_between('last_counted_date', 'as_of_date') }}, ' days ago')
            end
        ) as record_trust,
        concat(
            case
                when on_order_not_counted_units > 0
                    then concat(' ', {{ number_text('on_order_not_counted_units') }}, ' more on order come too late to count.')
                else ''
            end,
            case
                when on_order_doubtful_units > 0
                    then concat(
                        ' ', {{ number_text('on_order_doubtful_units') }}, ' on order were due on ', doubtful_since_date,
                        case
                            when order_units > 0
                            then concat(
                                ' and are not counted; this order replaces ',
                                {{ number_text('least(on_order_doubtful_units, order_units)') }}, ' of them.'
                            )
                            else ' and are not counted.'
                        end,
                        ' Ask the supplier, or close the order line.'
                    )
                else ''
            end
        ) as late_text,
        case
            when last_sale_date is null then ''
            when remainder_units >= 0.5 or after_sale_units > 0
                then concat(
                    ' ',
                    concat_ws(
                        '; ',
                        case
                            when remainder_units >= 0.5
                                then concat(
                                    {{ whole_number_text('remainder_units') }}, ' of stock and orders ',
                                    case
                                        when last_sale_date > as_of_date then 'may be left when the season ends on '
                                        else 'are left: the season ended on '
                                    end,
                                    {{ day_text('last_sale_date') }}
                                )
                        end,
                        case
                            when after_sale_units > 0
                                then concat(
                                    {{ number_text('after_sale_units') }}, ' on order are due after the last day of sale, ',
                                    {{ day_text('last_sale_date') }}
                                )
                        end
                    ),
                    '.'
                )
            when after_last_sale_units > 0
                then concat(
                    ' The season ', case when last_sale_date > as_of_date then 'ends' else 'ended' end, ' on ',
                    {{ day_text('last_sale_date') }}, '.'
                )
            else ''
        end as season_text,
        case
            -- Where more is to spare than the season moves, it decides nothing.
            when
                status <> 'exception'
                and abs(season_change) >= {{ least_season }}
                and abs(season_units) > inventory_position_units - order_up_to_units
                then concat(
                    ' Last year''s season ', case when season_change > 0 then 'raises' else 'lowers' end, ' the forecast by ',
                    {{ whole_number_text('100 * abs(season_change)') }}, ' % (trust ', {{ number_text('round(season_trust, 2)') }}, ').'
                )
            else ''
        end as last_year_text,
        case
            when forecast_note is null then ''
            when is_forecast_high then concat(' ', forecast_note, ' If demand follows those weeks, this order is not needed.')
            else concat(' ', forecast_note, ' If demand follows those weeks, this order is ', {{ whole_number_text('doubtful_units') }}, ' too small.')
        end as doubt_text,
        case when forecast_basis is null then '' else concat(' ', forecast_basis, '.') end as basis_text
    from shown
),

recommendations as (
    select
        md5(concat(as_of_date, ':', length(sku), ':', sku, ':', location_id)) as recommendation_id,
        as_of_date,
        sku,
        product_name,
        location_id,
        location_name,
        supplier_id,
        supplier_name,
        status,
        order_units,
        order_packs,
        cast(pack_units as decimal(18, 3)) as pack_units,
        unit_cost,
        cast(order_units * coalesce(unit_cost, 0) as decimal(18, 4)) as order_value,
        cast(supplier_order_value as decimal(18, 4)) as supplier_order_value,
        supplier_minimum_order_value,
        case
            when status <> 'order' then null
            when has_order_days then next_order_date
            else greatest(
                next_order_date, least(coalesce(last_safe_order_date, before_next_review_date), before_next_review_date)
            )
        end as order_by_date,
        next_order_date,
        case when status = 'order' then arrival_date end as expected_arrival_date,
        next_delivery_date,
        last_counted_date,
        is_negative,
        suspected_date,
        suspected_kind,
        record_trust,
        stockout_date_50,
        stockout_date_10,
        stockout_probability_without_order,
        stockout_probability_with_order,
        lost_units_without_order,
        lost_units_with_order,
        cast(lost_units_without_order * coalesce(unit_margin, 0) as decimal(18, 4)) as lost_margin_without_order,
        cast(lost_units_with_order * coalesce(unit_margin, 0) as decimal(18, 4)) as lost_margin_with_order,
        days_of_cover_before,
        days_of_cover_after,
        cast(last_4_weeks_units as decimal(18, 3)) as last_4_weeks_units,
        cast(next_4_weeks_units as decimal(18, 3)) as next_4_weeks_units,
        protection_periods as protection_days,
        lead_time_days,
        lead_time_source,
        lead_time_receipts_count,
        review_period_days,
        moq_units,
        target_type,
        target_value,
        policy_source,
        policy_note,
        expected_demand_units,
        safety_stock_units,
        expiring_units,
        order_up_to_units,
        on_hand_units,
        on_order_units,
        transfer_in_units,
        on_order_not_counted_units,
        on_order_doubtful_units,
        reserved_units,
        transfer_out_units,
        backordered_units,
        inventory_position_units,
        shortfall_units,
        moq_added_units,
        multiple_added_units,
        supplier_minimum_added_units,
        reduced_units,
        cast(moq_added_units * coalesce(unit_cost, 0) as decimal(18, 4)) as moq_added_value,
        cast(multiple_added_units * coalesce(unit_cost, 0) as decimal(18, 4)) as multiple_added_value,
        last_sale_date,
        remainder_units,
        cast(remainder_units * coalesce(unit_cost, 0) as decimal(18, 4)) as remainder_value,
        forecast_note,
        previous_decided_date,
        previous_order_units,
        cast(change_units as decimal(18, 3)) as change_units,
        change_reason,
        forecast_basis,
        concat(
            case
                when status = 'exception' then concat('No order can be worked out: ', exception, '.')
                when status = 'order'
                    then concat(
                        'Order ', {{ number_text('order_units') }},
                        case
                            when pack_units = 1 then ''
                            when order_packs = 1 then concat(' (1 pack of ', {{ number_text('pack_units') }}, ')')
                            else concat(' (', {{ number_text('order_packs') }}, ' packs of ', {{ number_text('pack_units') }}, ')')
                        end,
                        ': ', sum_text, ' = ', {{ number_text('shown_level - inventory_position_units') }}, steps_text, '.', late_text
                    )
                when shortfall_units > 0 or rejected_units > 0
                    then concat(
                        'Order nothing: ', sum_text, ' = ', {{ number_text('shown_level - inventory_position_units') }},
                        steps_text, '.', late_text
                    )
                else concat(
                    'Order nothing: ', sum_text, ' leaves ', {{ number_text('inventory_position_units - shown_level') }}, ' to spare.',
                    late_text
                )
            end,
            basis_text,
            last_year_text,
            season_text,
            doubt_text
        ) as reason,
        exception,
        exception_cause,
        forecast_model_version
    from worded
)

select * from recommendations
