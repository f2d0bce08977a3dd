{% set effect %}concat('(', case when shown_units > 0 then '+' else '−' end, {{ number_text('abs(shown_units)') }}, ' to the order)'){% endset %}

with restock_lines as (
    select sku, location_id, status, exception, {{ units('order_units') }} as order_units, as_of_date
    from {{ source('predictions', 'restock_lines') }}
),

previous_lines as (
    select sku, location_id, status, {{ units('order_units') }} as order_units, as_of_date
    from {{ source('predictions', 'previous_restock_lines') }}
),

order_steps as (
    select * from {{ ref('restock_order_steps') }}
),

previous_terms as (
    select sku, location_id, cast(step as integer) as step, term, {{ units('units') }} as term_units
    from {{ source('predictions', 'previous_restock_terms') }}
),

products as (
    select * from {{ ref('dim_products') }}
),

locations as (
    select * from {{ ref('dim_locations') }}
),

compared as (
    select
        restock_lines.sku,
        restock_lines.location_id,
        restock_lines.as_of_date,
        restock_lines.order_units - previous_lines.order_units as order_change_units,
        previous_lines.order_units as previous_order_units,
        restock_lines.order_units,
        case when restock_lines.status = 'exception' then 'no order can be calculated now' else 'no order could be calculated then' end
            as why_no_terms,
        restock_lines.status = 'exception' or previous_lines.status = 'exception' as has_no_terms
    from restock_lines
    inner join previous_lines
        on restock_lines.sku = previous_lines.sku and restock_lines.location_id = previous_lines.location_id
),

-- Every item with supplier terms has a line: an item without one has lost them, or what they are of.
gone as (
    select
        previous_lines.sku,
        previous_lines.location_id,
        previous_lines.as_of_date,
        -previous_lines.order_units as order_change_units,
        previous_lines.order_units as previous_order_units,
        cast(0 as decimal(18, 3)) as order_units,
        case
            when products.sku is null then 'the product is no longer known'
            when not products.is_active then 'the product is discontinued'
            when locations.location_id is null then 'the location is no longer known'
            else 'no supplier terms hold for the item any more'
        end as why_no_terms,
        true as has_no_terms
    from previous_lines
    left join restock_lines
        on previous_lines.sku = restock_lines.sku and previous_lines.location_id = restock_lines.location_id
    left join products on previous_lines.sku = products.sku
    left join locations on previous_lines.location_id = locations.location_id
    where restock_lines.sku is null
),

steps as (
    select
        sku, location_id, term, max(step) as step,
        sum(case when is_now then 0 else term_units end) as previous_units, sum(case when is_now then term_units else 0 end) as term_units
    from (
        select sku, location_id, step, term, term_units, true as is_now from order_steps
        union all
        select sku, location_id, step, term, term_units, false from previous_terms
    ) as both_decisions
    group by sku, location_id, term
),

-- Where one of the two could not be worked out, there are no steps to compare: that is the cause.
parts as (
    select compared.*, steps.step, steps.term, steps.previous_units, steps.term_units
    from compared
    inner join steps on compared.sku = steps.sku and compared.location_id = steps.location_id
    where not compared.has_no_terms and steps.term_units <> steps.previous_units
    union all
    select *, 0 as step, 'exception' as term, previous_order_units as previous_units, order_units as term_units
    from compared
    where has_no_terms and order_change_units <> 0
    union all
    select *, 0 as step, 'no_line' as term, previous_order_units as previous_units, order_units as term_units
    from gone
),

changed as (
    select
        *,
        term_units - previous_units as change_units,
        sum(term_units - previous_units) over (
            partition by sku, location_id order by step, term rows between unbounded preceding and current row
        ) as changed_so_far_units
    from parts
),

-- One decimal is shown, so that what is shown adds up too; all three where the order itself is finer.
shown as (
    select
        *,
        case
            when order_change_units = round(order_change_units, 1)
                then (floor(changed_so_far_units * 10 + 0.5) - floor((changed_so_far_units - change_units) * 10 + 0.5)) / 10
            else change_units
        end as shown_units
    from changed
),

explained as (
    select
        sku,
        location_id,
        step,
        term,
        cast(previous_units as decimal(18, 3)) as previous_term_units,
        cast(term_units as decimal(18, 3)) as term_units,
        cast(change_units as decimal(18, 3)) as change_units,
        case
            when term = 'no_line' and shown_units = 0 then why_no_terms
            when shown_units = 0 then null
            {% for step in order_steps() if step.noun %}
            {% set more, fewer = step.comparative if step.sign > 0 else step.comparative | reverse | list %}
            when term = '{{ step.name }}'
                then concat(
                    '{{ step.noun | replace("'", "''") }} ', {{ number_text('abs(shown_units)') }},
                    case when shown_units > 0 then ' {{ more }} ' else ' {{ fewer }} ' end, {{ effect }}
                )
            {% endfor %}
            when term = 'surplus' and shown_units > 0
                then concat('of this ', {{ number_text('shown_units') }}, ' more than needed, which an order cannot reduce ', {{ effect }})
            when term = 'surplus'
                then concat('of this ', {{ number_text('-shown_units') }}, ' that were more than needed before ', {{ effect }})
            when term in ('exception', 'no_line') then concat(why_no_terms, ' ', {{ effect }})
            else concat(replace(term, '_', ' '), ' ', {{ effect }})
        end as cause,
        as_of_date
    from shown
)

select * from explained
