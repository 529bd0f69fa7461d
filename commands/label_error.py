"""The label error of two policies, in what `voxbeam release --dry-run` and `remove --dry-run` say."""

from __future__ import annotations

from dataclasses import asdict
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from rich.console import Console

from voxbeam.commands.audit_document import label_error
from voxbeam.commands.terminal import new_table, print_table
from voxbeam.schemas.errors import VoxbeamError
from voxbeam.storage.releases import load_release
from voxbeam.storage.store import Store

if TYPE_CHECKING:
    from voxbeam.audit.forecast import ErrorForecast, PolicyError


class LabelError:
    """What an audit says of the present policy and of another one; without an audit, how to make one."""

    def __init__(self, output: str) -> None:
        store = Store(output)
        self.forecast: ErrorForecast | None = None
        self.unknown = (
            f"Nobody has listened to a sample of it: run `voxbeam audit {store.root}`, then the label error is estimated"
        )
        if not any(True for _ in store.walk("audits/")):
            return
        if find_spec("cryptography") is None:
            raise VoxbeamError(
                "answers of audits are signed, and the library for that is missing", remedy="pip install 'voxbeam[audit]'"
            )
        from voxbeam.audit.forecast import open_forecast

        self.forecast = open_forecast(store, load_release(store))
        self.unknown = f"Label error: not known, audits are of other units or empty; `voxbeam audit {store.root}` makes one"

    def print(self, console: Console) -> None:
        if self.forecast is None:
            console.print(self.unknown)
            return
        now, then = self.forecast.now, self.forecast.then
        table = new_table("source, score", "samples now", "then", "judged then", "wrong", "label error then")
        for name in sorted(now.samples.keys() | then.samples.keys()):
            count, found = then.by_stratum().get(name, (None, None))
            judged = (f"{count.population:,}", str(count.heard), str(count.errors)) if count else ("0", "0", "0")
            table.add_row(name, f"{now.samples[name]:,}", *judged, str(found) if found and count and count.heard else "not known")
        print_table(console, f"Label error, by the audit of release {self.forecast.release.name}", table)
        console.print(f"Label error now {now.overall()}, then {then.overall()}; the 95 % interval in parentheses", style="bold")
        if then.unheard:
            console.print(f"{then.unheard:,} samples would be new: nobody can have heard them, so each may be right or wrong")

    def document(self) -> dict[str, Any] | None:
        """The same for JSON; None without an audit."""
        if self.forecast is None:
            return None
        return {
            "audited_release": self.forecast.release.number,
            **{name: _document(getattr(self.forecast, name)) for name in ("now", "then")},
        }


def _document(of: PolicyError) -> dict[str, Any]:
    strata = [
        {**asdict(count), "stratum": name, "label_error": label_error(found)} for name, (count, found) in of.by_stratum().items()
    ]
    return {"label_error": label_error(of.overall()), "unheard": of.unheard, "repaired": of.repaired, "by_stratum": strata}
