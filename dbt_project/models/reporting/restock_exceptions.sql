with recommendations as (
    select * from {{ ref('restock_recommendations') }}
),

policy_exceptions as (
    select * from {{ source('predictions', 'policy_exceptions') }}
),

order_proposals as (
    select * from {{ ref('purchase_order_proposals') }}
),

stock_transfers as (
    select * from {{ ref('stock_transfers') }}
),

positions as (
    select * from {{ ref('fct_stock_position') }}
),

successions as (
    select * from {{ ref('int_restock_successions') }}
),

records_to_mend as (
    select * from {{ ref('int_restock_records_to_mend') }}
),

unsupplied as (
    select * from {{ ref('int_restock_unsupplied') }}
),

exceptions as (
    select
        'recommendation' as exception_source,
        sku,
        location_id,
        cast(null as bigint) as policy_sequence,
        exception_cause,
        'no_order_worked_out' as cause,
        exception as remedy,
        as_of_date
    from recommendations
    where status = 'exception'
    union all
    select
        exception_source,
        sku,
        location_id,
        cast(null as bigint) as policy_sequence,
        exception_cause,
        exception_cause as cause,
        remedy,
        as_of_date
    from records_to_mend
    union all
    select
        'supplier_terms' as exception_source,
        sku,
        location_id,
        cast(null as bigint) as policy_sequence,
        'no_supplier_terms' as exception_cause,
        'no_supplier_terms' as cause,
        concat(
            'sku ', sku, ' at ', location_id, ' has no valid supplier terms: {{ exception_remedy('no_supplier_terms') }}'
        ) as remedy,
        as_of_date
    from unsupplied
    union all
    select
        'policy' as exception_source,
        sku,
        location_id,
        policy_sequence,
        cause as exception_cause,
        cause,
        exception as remedy,
        as_of_date
    from policy_exceptions
    union all
    select
        'proposal' as exception_source,
        order_proposals.sku,
        order_proposals.location_id,
        cast(null as bigint) as policy_sequence,
        'not_handed_out' as exception_cause,
        'not_handed_out' as cause,
        concat(
            'proposal ', order_proposals.proposal_id, ' is ', order_proposals.state, ', and ', order_proposals.cause,
            ': {{ exception_remedy('not_handed_out') }}'
        ) as remedy,
        positions.as_of_date
    from order_proposals
    inner join positions
        on order_proposals.sku = positions.sku and order_proposals.location_id = positions.location_id
    where order_proposals.state in ('approved', 'exported', 'acknowledged') and order_proposals.cause is not null
    union all
    select
        'transfer' as exception_source,
        stock_transfers.sku,
        stock_transfers.to_location_id as location_id,
        cast(null as bigint) as policy_sequence,
        'transfer_not_named' as exception_cause,
        'transfer_not_named' as cause,
        concat(
            'transfer ', stock_transfers.proposal_id, ' from ', stock_transfers.from_location_id, ': ',
            stock_transfers.nearly_matched
        ) as remedy,
        positions.as_of_date
    from stock_transfers
    inner join positions
        on stock_transfers.sku = positions.sku and stock_transfers.to_location_id = positions.location_id
    where stock_transfers.nearly_matched is not null
),

named as (
    select exceptions.* replace (concat(exceptions.remedy, '.' || successions.succession_text) as remedy)
    from exceptions
    left join successions
        on exceptions.sku = successions.sku and exceptions.location_id = successions.location_id
)

select * from named
