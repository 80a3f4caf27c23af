"""SQL shared by the report and the exports: how requests are counted, and which label of a row counts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

# Conditions on a row of the log.
ANY, FAILED, REFUSED = "TRUE", "status >= 500", "status BETWEEN 400 AND 499"
# The column `row`, a reserved word, as most engines quote it.
ROW = '"row"'
# Of several labels of a row the first in this order counts: the last observed, then the last added, then the larger.
LABEL_ORDER = "observed_at DESC, added_at DESC, label DESC"
LABELS_VIEW = f"""
CREATE VIEW labels AS
SELECT request_id, {ROW}, label, class, observed_at, added_at FROM every_label
QUALIFY row_number() OVER (PARTITION BY request_id, {ROW} ORDER BY {LABEL_ORDER}) = 1
"""


def quoted(text: str) -> str:
    """A string literal."""
    return "'" + text.replace("'", "''") + "'"


def literals(values: Iterable[str | float | None]) -> str:
    """A list of literals."""
    return "[" + ", ".join(_literal(value) for value in values) + "]"


def number(column: str, dtype: str) -> str:
    """A column of the log as a number: of a timestamp the microseconds since 1970, of a boolean 0 or 1; not NaN."""
    if dtype == "timestamp":
        return f'epoch_us(TRY_CAST("{column}" AS TIMESTAMPTZ))::DOUBLE'
    return f"nullif(TRY_CAST(\"{column}\" AS DOUBLE), 'nan'::DOUBLE)"


def present(column: str) -> str:
    """0 where a column of the log has a value, NULL where it has none."""
    return f'CASE WHEN "{column}" IS NOT NULL THEN 0.0::DOUBLE END'


def class_index(classes: Sequence[str], text: str, number: str) -> str:
    """The index of the class that a text or a number names, from 0; NULL for others.

    A text names a class exactly. The number 2 names the class "2", and 1 the class "True".
    """
    if not classes:
        return "NULL::BIGINT"
    by_name = f"nullif(list_position({literals(classes)}, {text}), 0)"
    # NULL has a position in a list of NULLs.
    position = f"list_position({literals(map(_number_of, classes))}, {number})"
    return f"(coalesce({by_name}, CASE WHEN {number} IS NOT NULL THEN nullif({position}, 0) END) - 1)"


def category_number(column: str, categories: Sequence[str]) -> str:
    """The index of a column's category, from 0; their number for other values."""
    text = f'CAST("{column}" AS VARCHAR)'
    index = f"nullif(list_position({literals(categories)}, {text}), 0) - 1"
    return f"CASE WHEN {text} IS NOT NULL THEN CAST(coalesce({index}, {len(categories)}) AS DOUBLE) END"


def class_number(classes: Sequence[str]) -> str:
    """The index of the predicted class, from 0; the number of classes for other values, and NULL without a prediction.

    The class is logged as such, or as a number, or is the one of the largest score.
    """
    named = class_index(classes, "predicted_class", "prediction")
    largest = "CASE WHEN predicted_class IS NULL THEN nullif(list_position(scores, list_max(scores)), 0) - 1 END"
    predicted = "predicted_class IS NOT NULL OR prediction IS NOT NULL OR scores IS NOT NULL"
    return f"CASE WHEN {predicted} THEN CAST(coalesce({named}, {largest}, {len(classes)}) AS DOUBLE) END"


def label_number(classes: Sequence[str]) -> str:
    """The index of the label's class, from 0; the number of classes for other labels."""
    return f"CAST(coalesce({class_index(classes, 'class', 'label')}, {len(classes)}) AS DOUBLE)"


def norm(column: str) -> str:
    """The Euclidean norm of a column of lists."""
    return f'sqrt(list_sum(list_transform("{column}", lambda value: value::DOUBLE * value)))'


def _number_of(text: str) -> float | None:
    if text.lower() in ("true", "false"):
        return float(text.lower() == "true")
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _literal(value: str | float | None) -> str:
    if isinstance(value, str):
        return quoted(value)
    return "NULL::DOUBLE" if value is None else f"{value!r}::DOUBLE"


def requests_where(condition: str, row: str = ROW) -> str:
    """The number of requests that meet a condition, in standard SQL.

    A request is counted by its first row. Where only a sample was logged, it stands for 1 / `sample_rate` requests.
    `row` is that column's name, quoted for the engine.
    """
    return f"sum(CASE WHEN {row} = 0 AND {condition} THEN 1 / sample_rate ELSE 0 END)"


def daily(responses: str, role: str, row: str = ROW) -> str:
    """One line for each version and day, from a relation of log rows with their labels.

    `role` is that of the primary output, as an expression. Probabilities and labels have an accuracy, values a mean
    absolute error.
    """
    numbers, names = "prediction IS NOT NULL AND label IS NOT NULL", "predicted_class IS NOT NULL AND class IS NOT NULL"
    return f"""SELECT model, version, dt,
  {requests_where(ANY, row)} AS requests,
  {requests_where(FAILED, row)} AS failed,
  {requests_where(REFUSED, row)} AS refused,
  avg(CASE WHEN {row} = 0 THEN latency_us END) AS mean_latency_us,
  sum(CASE WHEN ({numbers}) OR ({names}) THEN 1 ELSE 0 END) AS labelled,
  avg(CASE WHEN {role} = 'probability' AND {numbers} THEN
      CASE WHEN (prediction >= 0.5 AND label >= 0.5) OR (prediction < 0.5 AND label < 0.5) THEN 1.0 ELSE 0.0 END
    WHEN {role} = 'label' AND {names} THEN CASE WHEN predicted_class = class THEN 1.0 ELSE 0.0 END
    END) AS accuracy,
  avg(CASE WHEN {role} = 'value' AND {numbers} THEN abs(prediction - label) END) AS mean_absolute_error
FROM {responses}
GROUP BY model, version, dt"""
