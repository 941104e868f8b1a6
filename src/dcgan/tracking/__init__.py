"""MLflow, written to so that a run survives a dead server and a killed process.

Everything goes to a journal on the disk first and is sent from there. Knows no other package. Read
`runs` first; outside this package only `runs`, `store` and `journal` are used.
"""
