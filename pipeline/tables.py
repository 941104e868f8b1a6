"""Tables on the terminal."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.table import Table


def new(*titles: str) -> "Table":
    """An empty table in which only sentences are wrapped and numbers stand on the right."""
    from rich.table import Table

    table = Table()
    for title in titles:
        justify: Literal["left", "right"] = "right" if title == "parameters" else "left"
        table.add_column(title, justify=justify, no_wrap=title != "reproduces", overflow="fold")
    return table


def show(table: "Table") -> None:
    """Print a table as it is: names in it are no markup."""
    from rich.console import Console

    Console(markup=False, highlight=False, emoji=False).print(table)
