with repeated_counts as (
    select * from {{ ref('int_repeated_counts') }}
),

daily_sales as (
    select * from {{ ref('int_daily_sales') }}
),

doubtful as (
    select
        source, document, 1 as line, sku, location_id, day, units as quantity_units, booked_by as reference,
        'total_differs' as doubt,
        concat(
            {{ number_text('total_units') }}, ' are the total of ', day, ', and ', {{ number_text('booked_sold_units') }},
            ' were booked sale by sale (', booked_by, '): these count, and the total does not'
        ) as what
    from daily_sales
    where is_contradicted
    union all
    select
        source, document, line, sku, location_id, day, quantity_units, reference_before as reference,
        doubt,
        case
            when doubt = 'counts_alike'
                then concat(
                    'the same ', {{ number_text('quantity_units') }}, ' stand in line ', same_line,
                    ' of the document too: both lines add up'
                )
            else concat(
                {{ number_text('units_before') }}, ' were counted within the hour before it (', reference_before, '): the later count of ',
                {{ number_text('quantity_units') }}, ' stands'
            )
        end as what
    from repeated_counts
    union all
    select source, document, line, sku, location_id, day, quantity_units, reference, doubt, what
    from {{ ref('int_doubtful_references') }}
),

explained as (
    select
        source, document, line, sku, location_id, day, cast(quantity_units as decimal(18, 3)) as quantity_units, reference, doubt,
        case
            when doubt = 'total_differs'
                then concat(
                    what, '. Send the sales that are missing among the movements, or the total again with ',
                    'the units that were booked'
                )
            when doubt = 'counts_alike'
                then concat(
                    what, '. If one count was written twice, send line ', line, ' of document ', document,
                    ' again with 0 units and the next revision; if both are parts of the stock, as it is with the next revision'
                )
            when doubt = 'counts_again'
                then concat(
                    what, '. If both are parts of the stock, send line ', line, ' of document ', document,
                    ' again with the units of all parts and the next revision; if the earlier one is right, with its units'
                )
            else concat(
                what, '. Send line ', line, ' of document ', document, ' again with the right reference and the next revision',
                case when doubt = 'cancels_too_much' then ', or with 0 units if nothing came back' else '' end
            )
        end as reason
    from doubtful
)

select * from explained
