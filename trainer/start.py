"""Start: the weights that a run begins with, and what is asked of them: sizes, phones, codec, and whom they learned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from voxbeam.models import checkpoint
from voxbeam.models.lineage import Lineage, lineage_of
from voxbeam.models.load_valle import averaged_weights, read_models
from voxbeam.models.valle import ModelConfig
from voxbeam.safety.blocks import require_not_blocked
from voxbeam.safety.tombstones import Tombstones
from voxbeam.schemas.errors import CheckpointError
from voxbeam.trainer.data.inherited import require_nobody_taken_down
from voxbeam.trainer.optimization import TrainState


def start_from(
    run_uri: str,
    states: Sequence[TrainState],
    config: ModelConfig,
    codec_sha256: str,
    feeds: Mapping[str, Tombstones],
) -> tuple[Lineage, list[str]]:
    """Gives models the averaged weights of another run; returns what these learned from, and what nobody can tell of that.

    Raises CheckpointError for other sizes, phones or codec, ConsentError for a run that is blocked, or that learned from somebody
    whom `feeds`, by address, have taken down since, and LedgerError where tombstones that it had seen are gone.
    """
    require_not_blocked(run_uri)
    saved = read_models(run_uri, best=True)
    lineage = Lineage({state.name: lineage_of(state.name, saved[state.name], run_uri) for state in states})
    unknown = require_nobody_taken_down(lineage, feeds)
    for state in states:
        checkpoint.require_codec(saved[state.name], codec_sha256, run_uri)
        if (phones := saved[state.name].facts["model"].get("phones")) not in (None, [], list(config.phones)):
            raise CheckpointError(
                f"{run_uri} was trained with {len(phones or [])} other phones than this corpus has",
                remedy="build the corpus with the phone set of that run",
            )
        state.start_from(averaged_weights(state.name, saved[state.name]))
    return lineage, unknown
