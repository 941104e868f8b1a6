"""What is written for people about a run: the model card, the run's page, runs side by side, the gate's report.

Knows `pictures`, `tracking` and `config`. Read `figures` first: the names and meanings of all
figures.
"""
