"""Browse the runs: a lean MLflow server on the store that the stages write to."""

import signal
from collections.abc import Iterator
from typing import Annotated

import typer

from dcgan.errors import EnvironmentProblem
from dcgan.tracking import store
from pipeline import cli, mlflow_server


def main(
    port: Annotated[int, typer.Option(min=1, max=65535, help="TCP port.")] = 5000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    open_to_others: Annotated[
        bool,
        typer.Option(
            "--open",
            metavar="",
            help="Allow a --host that others reach: in a container, no password.",
        ),
    ] = False,
) -> None:
    """Browse the runs in MLflow: python -m pipeline ui --port 5001. Ctrl-C ends it."""
    uri = store.location()
    if uri.startswith(("http://", "https://")):
        print(f"MLflow runs at {store.shown(uri)}")
        return
    mlflow_server.check_address(host, port, open_to_others=open_to_others)
    store.connect()
    # SIGTERM ends us as Ctrl-C does: a server that outlived us would keep the port.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with mlflow_server.start(uri, host, port) as server:
            address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
            mlflow_server.wait_until_it_answers(server, address)
            print(
                # Without the word MLflow opens its pages for language models.
                f"MLflow runs at {address}/#/experiments?workflowType=machine_learning"
                " (Ctrl-C ends it)",
                flush=True,
            )
            for name, link in views(address):
                print(f"{name}, runs with their figures: {link}", flush=True)
            code = server.process.wait()
    except KeyboardInterrupt:
        print("MLflow ended")
        return
    raise EnvironmentProblem(
        f"ui: the MLflow server ended by itself with exit code {code}: see its lines above"
    )


def views(address: str) -> Iterator[tuple[str, str]]:
    """For each data set with figures, the name of its experiment and the list of its runs."""
    from dcgan.tracking import view

    client = store.connect()
    for experiment in client.search_experiments(filter_string="name LIKE 'dcgan-%'"):
        if key := view.share(client, experiment.experiment_id):
            runs = f"{address}/#/experiments/{experiment.experiment_id}/runs"
            yield (
                experiment.name,
                f"{runs}?workflowType=machine_learning&viewStateShareKey={key}",
            )


if __name__ == "__main__":
    cli.run(main)
