{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='fail',
        pre_hook=["{{ forget_days_to_rebuild() }}", "{{ forget_changed_balances() }}"]
    )
}}

with folded_movements as (
    select * from {{ ref('int_folded_movements') }}
),

cancellations as (
    select * from {{ ref('int_sale_cancellations') }}
),

spans as (
    select * from {{ ref('int_item_location_spans') }}
),

{% if is_incremental() %}
kept as (
    select
        sku,
        location_id,
        max(day) as kept_until,
        sum(receipt_units - sales_units + other_units) as closing_units
    from {{ this }}
    group by sku, location_id
),

to_append as (
    select
        spans.sku,
        spans.location_id,
        coalesce({{ add_days('kept.kept_until', 1) }}, spans.active_from) as from_day,
        spans.last_day,
        spans.stock_known_from,
        coalesce(kept.closing_units, 0) as kept_units
    from spans
    left join kept on spans.sku = kept.sku and spans.location_id = kept.location_id
    where kept.kept_until is null or kept.kept_until < spans.last_day
),
{% else %}
to_append as (
    select sku, location_id, active_from as from_day, last_day, stock_known_from, cast(0 as decimal(18, 3)) as kept_units
    from spans
),
{% endif %}

movements_to_append as (
    select folded_movements.*
    from folded_movements
    inner join to_append
        on
            folded_movements.sku = to_append.sku
            and folded_movements.location_id = to_append.location_id
            and folded_movements.day between to_append.from_day and to_append.last_day
),

-- The first day to append stands for itself where nothing moved on it, with what is carried over from the day before.
changes as (
    select
        sku,
        location_id,
        day,
        change_units,
        cast(0 as decimal(18, 3)) as carried_units,
        movement_type,
        case when movement_type = 'sale' then on_hand_after_units end as after_sale_units,
        content_fingerprint
    from movements_to_append
    union all
    select sku, location_id, from_day, 0, kept_units, 'carried', null, 0
    from to_append
),

changed_days as (
    select
        sku,
        location_id,
        day,
        sum(case when movement_type = 'receipt' then change_units else 0 end) as receipt_units,
        -sum(case when movement_type in ('sale', 'cancellation') then change_units else 0 end) as sales_units,
        -sum(case when movement_type = 'sale' then change_units else 0 end) as sold_units,
        sum(case when movement_type not in ('receipt', 'sale', 'cancellation') then change_units else 0 end) as other_units,
        sum(change_units + carried_units) as change_units,
        min(after_sale_units) as least_after_sale_units,
        sum(content_fingerprint) as movements_fingerprint
    from changes
    group by sku, location_id, day
),

-- A window over the days with movements, and each then stands for the days until the next: an eighth of the rows to sort.
spells as (
    select
        *,
        sum(change_units) over (
            partition by sku, location_id order by day rows between unbounded preceding and current row
        ) as closing_units,
        lead(day) over (partition by sku, location_id order by day) as next_changed_day
    from changed_days
),

described_spells as (
    select
        spells.*,
        coalesce({{ add_days('spells.next_changed_day', -1) }}, to_append.last_day) as last_day,
        to_append.stock_known_from,
        greatest(spells.sold_units - coalesce(cancellations.cancelled_units, 0), 0) as demand_units,
        spells.movements_fingerprint + coalesce(cancellations.cancellations_fingerprint, 0) as inputs_fingerprint
    from spells
    inner join to_append on spells.sku = to_append.sku and spells.location_id = to_append.location_id
    left join cancellations
        on
            spells.sku = cancellations.sku
            and spells.location_id = cancellations.location_id
            and spells.day = cancellations.day
),

item_days as (
    select *, day as changed_day, {{ each_day('day', 'last_day') }} as item_day
    from described_spells
),

balances as (
    select
        sku,
        location_id,
        item_day as day,
        cast(
            case when item_day = changed_day then closing_units - receipt_units + sales_units - other_units else closing_units end
            as decimal(18, 3)
        ) as opening_units,
        cast(case when item_day = changed_day then receipt_units else 0 end as decimal(18, 3)) as receipt_units,
        cast(case when item_day = changed_day then sales_units else 0 end as decimal(18, 3)) as sales_units,
        cast(case when item_day = changed_day then other_units else 0 end as decimal(18, 3)) as other_units,
        cast(closing_units as decimal(18, 3)) as closing_units,
        coalesce(item_day >= stock_known_from, false)
        and (closing_units <= 0 or (item_day = changed_day and coalesce(least_after_sale_units <= 0, false))) as is_stocked_out,
        cast(case when item_day = changed_day then demand_units else 0 end as decimal(18, 3)) as demand_units,
        cast(case when item_day = changed_day then inputs_fingerprint else 0 end as decimal(38, 0)) as inputs_fingerprint
    from item_days
)

select * from balances
