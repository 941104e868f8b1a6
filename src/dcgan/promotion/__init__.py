"""From a trained model to the champion: the gate, the registry, the folder that is served.

Knows `judging`, `networks`, `tracking` and `config`. Read `gate` first.
"""
