with shortages as (
    select * from {{ ref('int_alert_shortages') }}
),

surpluses as (
    select * from {{ ref('int_alert_surpluses') }}
),

late_orders as (
    select * from {{ ref('int_alert_late_orders') }}
),

supplier_minimums as (
    select * from {{ ref('int_alert_suppliers') }}
),

item_locations as (
    select * from {{ ref('dim_item_locations') }}
),

suppliers as (
    select * from {{ ref('dim_suppliers') }}
),

limits as (
    select * from {{ ref('int_listing_limits') }}
),

cured_shortages as (
    select
        kind, cause, sku, location_id, supplier_id, as_of_date, proposal_id, money_per_day,
        case cause when 'late_order' then late_order_id when 'delivery_too_late' then next_order_id end as purchase_order_id,
        case cause when 'late_order' then late_line when 'delivery_too_late' then next_line end as line,
        case when transfer_date = next_arrival_date then from_location_id end as transfer_from_location_id,
        case when is_out then out_since_date else empty_from_date end as from_date,
        case when next_arrival_date in (next_delivery_date, expected_arrival_date, transfer_date) then next_arrival_date end as until_date,
        lost_units as units,
        concat(
            case cause
                when 'count_first' then concat('The record is doubtful (', record_trust, '): count the shelf first.')
                when 'no_order_worked_out' then concat(exception, '.')
                when 'late_order'
                    then concat(
                        'Line ', late_line, ' of order ', late_order_id, ' was due on ', {{ day_text('late_since_date') }},
                        ': ask ', coalesce(supplier_name, supplier_id), ' for a date.'
                    )
                when 'forecast_doubtful' then concat('The forecast is doubtful: check it first. ', forecast_note)
                when 'transfer_undecided' then concat('Approve the transfer from ', from_location_id, '.')
                when 'transfer_on_its_way' then concat('Send the transfer from ', from_location_id, ', if it has not left.')
                when 'delivery_too_late'
                    then concat(
                        case
                            when coming_date is distinct from next_delivery_date then 'The next delivery is planned'
                            when coming_order_id is not null
                                then concat('Line ', coming_line, ' of order ', coming_order_id, ' brings ', {{ number_text('coming_units') }})
                            else concat('The ', coming_state, ' order ', coming_proposal_id, ' brings ', {{ number_text('coming_units') }})
                        end,
                        case when coming_date is distinct from next_delivery_date then ' for ' else ' on ' end, {{ day_text('next_delivery_date') }}, ': ',
                        case when coming_state = 'approved' and coming_date = next_delivery_date then 'export it, and ' else '' end,
                        case
                            when next_delivery_date <= {{ add_days('as_of_date', 1) }} then 'see that it comes.'
                            else concat('ask ', coalesce(supplier_name, supplier_id), ' whether it can come earlier.')
                        end
                    )
                when 'no_order' then 'Nothing is on its way and nothing is ordered: its recommendation says why.'
                else ''
            end,
            case
                when status <> 'order' then ''
                else concat(
                    case when cause = 'order_too_late' then '' else ' ' end,
                    'Approve the order of ', {{ number_text('order_units') }}, '; it arrives on ',
                    {{ day_text('expected_arrival_date') }},
                    case
                        when cause = 'order_too_late'
                            then concat(', too late: ask ', coalesce(supplier_name, supplier_id), ' for a quicker delivery.')
                        else '.'
                    end
                )
            end
        ) as cure
    from shortages
),

alerts as (
    select * from cured_shortages
    union all by name
    select * from surpluses
    union all by name
    select * from late_orders
    union all by name
    select * from supplier_minimums
),

described as (
    select
        md5(
            concat_ws(
                chr(31), alerts.kind, coalesce(alerts.sku, ''), coalesce(alerts.location_id, ''), coalesce(alerts.supplier_id, ''),
                case when alerts.kind = 'late_order' then concat(alerts.purchase_order_id, ':', alerts.line) else '' end, coalesce(alerts.lot_id, '')
            )
        ) as alert_id,
        alerts.kind, alerts.cause, alerts.sku, item_locations.product_name, alerts.location_id, alerts.supplier_id,
        suppliers.supplier_name, alerts.as_of_date,
        cast(alerts.money_per_day as decimal(18, 4)) as money_per_day,
        alerts.from_date, alerts.until_date,
        cast(alerts.units as decimal(18, 3)) as units,
        alerts.cure, alerts.proposal_id, alerts.purchase_order_id, alerts.line, alerts.transfer_from_location_id, alerts.lot_id
    from alerts
    left join item_locations on alerts.sku = item_locations.sku and alerts.location_id = item_locations.location_id
    left join suppliers on alerts.supplier_id = suppliers.supplier_id
    left join limits on alerts.sku = limits.sku and alerts.location_id = limits.location_id
    where
        alerts.money_per_day >= limits.listed_above_money_per_day
        or alerts.kind in ('out_of_stock', 'late_order', 'below_supplier_minimum')
        or alerts.cause = 'late_order'
),

ranked as (
    select
        cast(
            row_number() over (
                order by money_per_day desc, kind, sku, location_id, supplier_id, purchase_order_id, line, lot_id
            ) as integer
        ) as alert_rank,
        *
    from described
)

select * from ranked
