"""Every format and name that crosses packages, each defined once.

Formats of files: `layout`, `manifest`, `reference`, `state`, `inferencelog`, and their JSON schemas by `schema`. Names:
`names` of resources, labels, headers and paths, `tensors`, `metrics`. Rules: `bins`, `calibration`, `durations`.
"""
