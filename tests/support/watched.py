"""What a training is shown on: a run and a bar that keep what they are told."""

import copy


class Log:
    """Writes down what is logged."""

    def __init__(self):
        self.entries = []

    def __getattr__(self, name):
        return lambda *args: self.entries.append((name, *copy.deepcopy(args)))


class Lines:
    """A bar that keeps its lines."""

    rate = 10.0
    per_step = 16

    def __init__(self):
        self.said = []

    def say(self, line):
        self.said.append(line)
