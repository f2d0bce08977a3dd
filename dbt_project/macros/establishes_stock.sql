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
