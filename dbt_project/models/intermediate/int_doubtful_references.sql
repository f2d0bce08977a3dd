with movements as not materialized (
    select * from {{ ref('int_folded_movements') }}
),

order_lines as (
    select
        concat(purchase_order_id, ':', line) as reference,
        purchase_order_id,
        sku,
        location_id
    from {{ ref('stg_purchase_order_lines') }}
),

referring as (
    select *
    from movements
    where movement_type in ('cancellation', 'receipt') and reference is not null
),

cancellations as (
    select referring.*, -sales.quantity_units as sold_units
    from referring
    left join movements as sales
        on
            sales.movement_type = 'sale'
            and split_part(referring.reference, ':', 1) = sales.source
            and regexp_extract(referring.reference, '^[^:]*:(.*):[^:]*$', 1) = sales.document
            and try_cast(regexp_extract(referring.reference, '([^:]*)$', 1) as integer) = sales.line
    where referring.movement_type = 'cancellation'
),

cancelled as (
    select
        *,
        sum(quantity_units) over (
            partition by reference order by occurred_at, source, document, line rows between unbounded preceding and current row
        ) as cancelled_units
    from cancellations
),

receipts as (
    select
        referring.*,
        order_lines.reference is not null as is_known,
        order_lines.sku is not distinct from referring.sku and order_lines.location_id is not distinct from referring.location_id
            as is_of_item,
        order_lines.sku as ordered_sku,
        order_lines.location_id as ordered_location_id
    from referring
    left join order_lines on referring.reference = order_lines.reference
    where referring.movement_type = 'receipt' and exists (select 1 from order_lines)
),

-- The order line that a reference may mean: of the same item, with the same core, or named without its line.
near_lines as (
    select receipts.source, receipts.document, receipts.line, min(order_lines.reference) as reference
    from receipts
    inner join order_lines
        on
            receipts.sku = order_lines.sku
            and receipts.location_id = order_lines.location_id
            and {{ core_of_code('receipts.reference') }} in (
                {{ core_of_code('order_lines.reference') }}, {{ core_of_code('order_lines.purchase_order_id') }}
            )
    where not receipts.is_known
    group by receipts.source, receipts.document, receipts.line
    having count(distinct order_lines.reference) = 1
),

doubtful as (
    select
        source, document, line, sku, location_id, day, quantity_units, reference,
        case when sold_units is null then 'cancels_nothing' else 'cancels_too_much' end as doubt,
        case
            when sold_units is null
                then concat('it cancels ', reference, ', which is no sale that is known: no demand is taken off')
            else
                concat(
                    'with it ', {{ number_text('cancelled_units') }}, ' of the sale ', reference, ' are cancelled, of which ',
                    {{ number_text('sold_units') }}, ' were sold: no more than those are taken off the demand, yet stock counts all'
                )
        end as what
    from cancelled
    where sold_units is null or cancelled_units > sold_units
    union all
    select
        receipts.source, receipts.document, receipts.line, receipts.sku, receipts.location_id, receipts.day,
        receipts.quantity_units, receipts.reference,
        case when receipts.is_known then 'receives_another_item' else 'receives_no_order' end as doubt,
        case
            when receipts.is_known
                then concat(
                    'the order line ', receipts.reference, ' is for ', receipts.ordered_sku, ' at ', receipts.ordered_location_id,
                    ': the units count there as received'
                )
            when near_lines.reference is not null
                then concat(
                    receipts.reference, ' is no order line; ', near_lines.reference, ' is one of the same item, whose units count as ',
                    'on order still'
                )
            else concat(receipts.reference, ' is no order line that is known: what it belongs to counts as on order still')
        end as what
    from receipts
    left join near_lines
        on
            receipts.source = near_lines.source
            and receipts.document = near_lines.document
            and receipts.line = near_lines.line
    where not receipts.is_known or not receipts.is_of_item
)

select * from doubtful
