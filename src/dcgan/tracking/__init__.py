"""MLflow, written to so that a run survives a dead server and a killed process.

Everything goes to a journal on the disk first and is sent from there. Knows no other package. Read
`runs` first: a stage writes to MLflow with `runs.open_run`. The other modules that are used outside
are `store`, `names` and `provenance`, for `compare` `fetching`, for `sync` `journal` and `sending`.
"""
