"""Where the package of the web page is: `spikevae_app` where spikevae is installed, the folder app/ in a checkout.

A package called `app` would stand in the way of one's own, so no wheel brings it.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

_NAME = "spikevae_app"
_CHECKOUT = Path(__file__).parents[1] / "app" / "__init__.py"


def page(module: str = "") -> ModuleType:
    """The package of the page, or a module of it.

    Raises:
        ModuleNotFoundError: if the page, or what it needs, is not installed.
    """
    if importlib.util.find_spec(_NAME) is None and _CHECKOUT.is_file():
        spec = importlib.util.spec_from_file_location(
            _NAME, _CHECKOUT, submodule_search_locations=[str(_CHECKOUT.parent)]
        )
        assert spec is not None
        assert spec.loader is not None
        sys.modules[_NAME] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[_NAME])
    return importlib.import_module(f"{_NAME}.{module}" if module else _NAME)
