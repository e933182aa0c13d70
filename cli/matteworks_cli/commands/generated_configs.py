"""`matteworks envoy-config`, `compose-config`, `chart-config`: what is made from the topology."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from matteworks_deploy.compose import compose_yaml
from matteworks_deploy.envoy.settings import Endpoint, EnvoySettings, EnvoyTls, parse_provider_hosts
from matteworks_deploy.failures import EXIT_USAGE, CommandFailed
from matteworks_deploy.local.parts import envoy_binary, require_extras
from matteworks_deploy.topology import SERVICES

# Where the services of compose/ listen, by their names in its network.
_PUBLIC, _INTERNAL, _ADMIN = "0.0.0.0:8080", "0.0.0.0:8081", "127.0.0.1:9901"
_OBSERVED = "0.0.0.0:9102"


def envoy_config(
    public: Annotated[str, typer.Option(help="Address of the public listener.")] = _PUBLIC,
    internal: Annotated[str, typer.Option(help="Address of the listener between services.")] = _INTERNAL,
    admin: Annotated[str, typer.Option(help="Address of the admin page; keep it on loopback.")] = _ADMIN,
    observed: Annotated[
        str, typer.Option(help="Address of readiness and Envoy's counters (/stats/prometheus); empty: none.")
    ] = _OBSERVED,
    edge: Annotated[list[str], typer.Option(help="Host and port of the edge; repeat it for more.")] = [  # noqa: B006
        "edge:8000"
    ],
    auth: Annotated[list[str], typer.Option(help="Host and port of auth.")] = ["auth:50051"],  # noqa: B006
    inference: Annotated[list[str], typer.Option(help="Host and port of inference.")] = [  # noqa: B006
        "inference:50052"
    ],
    compositor: Annotated[list[str], typer.Option(help="Host and port of the compositor.")] = [  # noqa: B006
        "compositor:50053"
    ],
    hosts: Annotated[
        list[str] | None,
        typer.Option("--host", help="NAME=HOST:PORT[,HOST:PORT] of any service; NAME= leaves it out."),
    ] = None,
    provider_hosts: Annotated[
        list[str] | None,
        typer.Option("--provider-host", help="HOST=PROVIDER, as the edge's MATTEWORKS_EDGE_DIALECT_HOSTS."),
    ] = None,
    public_tls: Annotated[
        str, typer.Option(help="Directory with the public listener's tls.crt and tls.key, as Envoy sees it.")
    ] = "",
    internal_tls: Annotated[
        str,
        typer.Option(help="tls.crt, tls.key and ca.crt for mutual TLS inside, as Envoy sees them."),
    ] = "",
    secrets: Annotated[
        str, typer.Option(help="Where Envoy finds the documents that --write-secrets writes.")
    ] = "/etc/envoy",
    write_secrets: Annotated[
        Path | None, typer.Option(help="Also write the documents that name the certificates.", metavar="DIR")
    ] = None,
    validate: Annotated[bool, typer.Option("--validate", help="Let Envoy check it; print nothing.")] = False,
    check: Annotated[
        Path | None, typer.Option(help="Print nothing; fail when this file differs.", metavar="FILE")
    ] = None,
) -> None:
    """Print Envoy's configuration. The defaults are those of compose/."""
    require_extras("local")
    from matteworks_deploy.envoy.bootstrap import envoy_json, validation_problem
    from matteworks_deploy.envoy.tls import secret_documents

    named = {"edge": edge, "auth": auth, "inference": inference, "compositor": compositor}
    # The rest is where compose has it; a deployment without one of them says so by an empty --host NAME=.
    given = {row.name: named.get(row.name, [f"{row.name}:{row.port}"]) for row in SERVICES}
    given |= {row.http_name: [f"{row.name}:{row.http_port}"] for row in SERVICES if row.http_port}
    for text in hosts or []:
        name, _, address = text.partition("=")
        if name not in given:
            raise CommandFailed(f"--host {text!r}: there is no service {name!r}.", EXIT_USAGE)
        given[name] = [one for one in address.split(",") if one]
    settings = EnvoySettings(
        public=_endpoint(public),
        internal=_endpoint(internal),
        admin=_endpoint(admin),
        observed=_endpoint(observed) if observed else None,
        provider_hosts=_provider_hosts(provider_hosts or []),
        hosts={name: tuple(map(_endpoint, hosts)) for name, hosts in given.items()},
        tls=EnvoyTls(public=public_tls, internal=internal_tls, secrets=secrets),
    )
    if write_secrets is not None:
        for name, text in secret_documents(settings).items():
            (write_secrets / name).write_text(text)
    config = envoy_json(settings)
    if validate:
        problem = validation_problem(config, envoy_binary())
        if problem:
            raise CommandFailed(f"Envoy refuses the configuration: {problem}")
    if check is not None and (not check.is_file() or check.read_text() != config):
        raise CommandFailed(f"{check} is not current; run: matteworks envoy-config > {check}")
    if not validate and check is None:
        sys.stdout.write(config)


def _provider_hosts(entries: list[str]) -> dict[str, str]:
    try:
        return parse_provider_hosts(",".join(entries))
    except ValueError as error:
        raise CommandFailed(f"--provider-host: {error}.", EXIT_USAGE) from error


def compose_config(
    check: Annotated[
        Path | None, typer.Option(help="Print nothing; fail when this file differs.", metavar="FILE")
    ] = None,
) -> None:
    """Print compose.yaml as the topology has it."""
    text = compose_yaml()
    if check is None:
        sys.stdout.write(text)
    elif not check.is_file() or check.read_text() != text:
        raise CommandFailed(f"{check} is not current; run: matteworks compose-config > {check}")


def chart_config(
    folder: Annotated[Path, typer.Argument(help="The chart.", metavar="FOLDER")] = Path(
        "deploy/charts/matteworks"
    ),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail where a file differs.")] = False,
) -> None:
    """Write those files of the Helm chart that are made from the topology."""
    require_extras("local")
    from matteworks_deploy.chart import chart_files

    if not (folder / "Chart.yaml").is_file():
        raise CommandFailed(f"There is no chart in {folder}.", EXIT_USAGE)
    files = chart_files(folder)
    stale = [
        name
        for name, text in files.items()
        if not (folder / name).is_file() or (folder / name).read_text() != text
    ]
    if check and stale:
        raise CommandFailed(f"{', '.join(stale)} of {folder} differ; run: matteworks chart-config")
    for name in () if check else stale:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(files[name])


def _endpoint(text: str) -> Endpoint:
    host, separator, port = text.rpartition(":")
    if not separator or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise CommandFailed(f"{text!r} is not an address; write host:port.", EXIT_USAGE)
    return Endpoint(host, int(port))
