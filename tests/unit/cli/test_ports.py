"""Ports on loopback."""

from __future__ import annotations

import socket

from matteworks_deploy.local.ports import LOOPBACK, free_ports, is_free


def test_free_ports_are_different_and_free() -> None:
    ports = free_ports(20)

    assert len(set(ports)) == 20
    assert all(is_free(LOOPBACK, port) for port in ports)


def test_a_port_that_somebody_listens_on_is_not_free() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        assert not is_free(LOOPBACK, server.getsockname()[1])
