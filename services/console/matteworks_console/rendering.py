"""Templates to pages. Every value is escaped; a missing one is an error."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse

from matteworks_console.static_files import StaticFiles


class Renderer:
    """Renders the files of the folder `templates`. `site` holds what every page knows."""

    def __init__(self, static_files: StaticFiles, site: dict[str, Any]) -> None:
        self._environment = Environment(
            loader=PackageLoader("matteworks_console"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(site, static=static_files.url)

    def add_filter(self, name: str, convert: Any) -> None:
        """Let templates say `value | name`."""
        self._environment.filters[name] = convert

    def page(self, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """The page, never kept by a cache."""
        text = self._environment.get_template(template).render(**values)
        return HTMLResponse(text, status_code=status, headers={"Cache-Control": "no-store"})
