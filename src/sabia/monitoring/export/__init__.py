"""The log and the labels for other tools: DDL for query engines, a DuckDB file, a PostgreSQL schema.

All of them have the same relations: `inference_log`, `labels` (of several labels of a row, the one that counts),
`responses` (a row of the log, with its label if it has one), and `daily` (a line for each version and day).
"""
