"""What is written for people about a run: model card, run page, runs side by side, gate report.

Knows `judging`, `pictures`, `tracking` and `config`. Read `markdown` first: tables and numbers, by
the table of figures in `judging.figures`.
"""
