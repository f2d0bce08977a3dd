{#
    Whether a movement says how much there is: a count, or one that brings stock to a shelf. What was sold of a shelf that
    nothing was ever brought to says only that there was enough.
#}
{% macro establishes_stock(movements) -%}
    (
        {{ movements }}.movement_type in ('count', 'receipt', 'transfer_in')
        or ({{ movements }}.movement_type = 'adjustment' and {{ movements }}.change_units > 0)
    )
{%- endmacro %}


{#
    The one rule of known stock, an aggregate over the movements of an item: it was counted, or stock was brought and no more
    left than came. More left than ever came: what lay there before the records began was never counted.
#}
{% macro is_stock_known(movements) -%}
    (
        max(case when {{ establishes_stock(movements) }} then 1 else 0 end) = 1
        and (count(case when {{ movements }}.movement_type = 'count' then 1 end) > 0 or sum({{ movements }}.change_units) >= 0)
    )
{%- endmacro %}
