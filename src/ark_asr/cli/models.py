"""``ark-asr models``: finding, fetching and keeping models, and making packages of them."""

from __future__ import annotations

import typer

from ark_asr.cli import manage
from ark_asr.cli.calibrate import calibrate
from ark_asr.cli.check import check
from ark_asr.cli.convert import convert
from ark_asr.cli.pull import pull

app = typer.Typer(help="Find, fetch and keep models; make packages of them.", no_args_is_help=True)


app.command(name="list")(manage.list_)
app.command()(manage.info)
app.command()(pull)
app.command()(manage.verify)
app.command()(manage.path)
app.command(name="import")(manage.import_)
app.command()(manage.export)
app.command()(manage.remove)
app.command()(convert)
app.command()(check)
app.command()(calibrate)
