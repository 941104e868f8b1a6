"""A DCGAN pipeline's library, one package for each job; it knows neither DVC nor a command line.

Ground files, which every package may import and which import no package: `errors`, `files`, `rng`,
`redaction`, `progress`, `data`, `validation`. The table `tool.rooms` in pyproject.toml says which
package may import which; docs/rooms.py checks it.
"""
