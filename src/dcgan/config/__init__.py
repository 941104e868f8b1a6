"""params.yaml: its schema, its reader, its editor, and the recipes that are laid over it.

Knows no other package. Nothing here can change an output, so stages do not depend on it: a section
has no defaults and no computed values. Read `sections` first.
"""
