"""Ports of this machine on which nothing answers."""

import socket


def free_port() -> int:
    """A port that is free now: for a server that the test starts, or for one that is not there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def dead_server(login: str = "") -> str:
    """The address of a server that is not there; `login` is `user:password`."""
    return f"http://{login}{'@' if login else ''}127.0.0.1:{free_port()}"
