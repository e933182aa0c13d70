"""All commands together."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec

import typer

from matteworks_cli.certificates import root_options
from matteworks_cli.commands.accounts import (
    create_account,
    grant_credits,
    list_accounts,
    list_plans,
    set_plan,
    show_log,
    show_usage,
)
from matteworks_cli.commands.batch import (
    cancel_batch,
    download_batch,
    list_batches,
    submit_batch,
    watch_batch,
)
from matteworks_cli.commands.bulk import bulk
from matteworks_cli.commands.demo import demo
from matteworks_cli.commands.edit import brush, crop, erase, expand, fill, put_back, upscale
from matteworks_cli.commands.edit_select import select
from matteworks_cli.commands.generated_configs import chart_config, compose_config, envoy_config
from matteworks_cli.commands.keys import create_key, list_keys, restrict_key, revoke_key, rotate_key
from matteworks_cli.commands.models import list_models, pull_models
from matteworks_cli.commands.remove import remove
from matteworks_cli.commands.up import up
from matteworks_cli.doctor.command import doctor
from matteworks_deploy.failures import CommandFailed

P = ParamSpec("P")

app = typer.Typer(
    name="matteworks",
    help="Self-hosted background removal: a remove.bg drop-in outside, gRPC services inside.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_accounts = typer.Typer(help="Accounts of a running stack: plans, credits, usage.", no_args_is_help=True)
_batch = typer.Typer(help="Batches: hand pictures in, and fetch the results later.", no_args_is_help=True)
_edit = typer.Typer(help="Correct and change single pictures.", no_args_is_help=True)
_keys = typer.Typer(help="API keys of a running stack.", no_args_is_help=True)
_models = typer.Typer(help="The networks: which there are, and their weights.", no_args_is_help=True)


def _told_in_one_sentence(command: Callable[P, None]) -> Callable[P, None]:
    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except CommandFailed as failure:
            sys.stderr.write(f"matteworks: {failure.message}\n")
            raise typer.Exit(failure.exit_code) from failure

    return wrapped


app.callback()(root_options)
app.command("up")(_told_in_one_sentence(up))
app.command("remove")(_told_in_one_sentence(remove))
app.command("bulk")(_told_in_one_sentence(bulk))
app.command("demo")(_told_in_one_sentence(demo))
app.command("doctor")(_told_in_one_sentence(doctor))
app.command("compose-config")(_told_in_one_sentence(compose_config))
app.command("chart-config")(_told_in_one_sentence(chart_config))
app.command("envoy-config")(_told_in_one_sentence(envoy_config))
_batch.command("submit")(_told_in_one_sentence(submit_batch))
_batch.command("watch")(_told_in_one_sentence(watch_batch))
_batch.command("download")(_told_in_one_sentence(download_batch))
_batch.command("cancel")(_told_in_one_sentence(cancel_batch))
_batch.command("list")(_told_in_one_sentence(list_batches))
_edit.command("crop")(_told_in_one_sentence(crop))
_edit.command("erase")(_told_in_one_sentence(erase))
_edit.command("fill")(_told_in_one_sentence(fill))
_edit.command("expand")(_told_in_one_sentence(expand))
_edit.command("upscale")(_told_in_one_sentence(upscale))
_edit.command("put-back")(_told_in_one_sentence(put_back))
_edit.command("brush")(_told_in_one_sentence(brush))
_edit.command("select")(_told_in_one_sentence(select))
_keys.command("create")(_told_in_one_sentence(create_key))
_keys.command("list")(_told_in_one_sentence(list_keys))
_keys.command("restrict")(_told_in_one_sentence(restrict_key))
_keys.command("revoke")(_told_in_one_sentence(revoke_key))
_keys.command("rotate")(_told_in_one_sentence(rotate_key))
_models.command("list")(_told_in_one_sentence(list_models))
_models.command("pull")(_told_in_one_sentence(pull_models))
_accounts.command("create")(_told_in_one_sentence(create_account))
_accounts.command("list")(_told_in_one_sentence(list_accounts))
_accounts.command("plan")(_told_in_one_sentence(set_plan))
_accounts.command("plans")(_told_in_one_sentence(list_plans))
_accounts.command("grant")(_told_in_one_sentence(grant_credits))
_accounts.command("usage")(_told_in_one_sentence(show_usage))
_accounts.command("log")(_told_in_one_sentence(show_log))
app.add_typer(_accounts, name="accounts")
app.add_typer(_batch, name="batch")
app.add_typer(_edit, name="edit")
app.add_typer(_keys, name="keys")
app.add_typer(_models, name="models")
