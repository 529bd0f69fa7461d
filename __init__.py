"""voxbeam: from raw, hours-long speech to a codec language model that speaks in a voice it has heard for three seconds.

Importing it loads neither Beam nor torch: every name below is imported when it is first used. docs/api.md has examples.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voxbeam.corpus import Corpus
    from voxbeam.pipeline.build import build
    from voxbeam.pipeline.diff import diff
    from voxbeam.pipeline.plan import plan
    from voxbeam.pipeline.repack import release
    from voxbeam.pipeline.verify import verify
    from voxbeam.reporting.report import report
    from voxbeam.schemas.config import CorpusConfig
    from voxbeam.schemas.errors import VoxbeamError
    from voxbeam.synthesis.synthesizer import Synthesizer

__version__ = "0.1.0"
__all__ = [
    "Corpus",
    "CorpusConfig",
    "Synthesizer",
    "VoxbeamError",
    "__version__",
    "build",
    "diff",
    "plan",
    "release",
    "report",
    "verify",
]

_MODULES = {
    "Corpus": "voxbeam.corpus",
    "CorpusConfig": "voxbeam.schemas.config",
    "Synthesizer": "voxbeam.synthesis.synthesizer",
    "VoxbeamError": "voxbeam.schemas.errors",
    "build": "voxbeam.pipeline.build",
    "diff": "voxbeam.pipeline.diff",
    "plan": "voxbeam.pipeline.plan",
    "release": "voxbeam.pipeline.repack",
    "report": "voxbeam.reporting.report",
    "verify": "voxbeam.pipeline.verify",
}


def __getattr__(name: str) -> Any:
    """Imports a public name on first use (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module 'voxbeam' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
