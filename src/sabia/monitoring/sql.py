"""SQL shared by the report and the exports: how requests are counted, and which label of a row counts."""

from __future__ import annotations

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


def requests_where(condition: str, row: str = ROW) -> str:
    """The number of requests that meet a condition, in standard SQL.

    A request is counted by its first row. Where only a sample was logged, it stands for 1 / `sample_rate` requests.
    `row` is that column's name, quoted for the engine.
    """
    return f"sum(CASE WHEN {row} = 0 AND {condition} THEN 1 / sample_rate ELSE 0 END)"


def daily(responses: str, row: str = ROW) -> str:
    """One line for each version and day, from a relation of log rows with their labels."""
    return f"""SELECT model, version, dt,
  {requests_where(ANY, row)} AS requests,
  {requests_where(FAILED, row)} AS failed,
  {requests_where(REFUSED, row)} AS refused,
  avg(CASE WHEN {row} = 0 THEN latency_us END) AS mean_latency_us,
  sum(CASE WHEN label IS NOT NULL AND prediction IS NOT NULL THEN 1 ELSE 0 END) AS labelled,
  avg(CASE WHEN label IS NULL OR prediction IS NULL THEN NULL
    WHEN (prediction >= 0.5 AND label >= 0.5) OR (prediction < 0.5 AND label < 0.5) THEN 1.0 ELSE 0.0 END) AS accuracy
FROM {responses}
GROUP BY model, version, dt"""
