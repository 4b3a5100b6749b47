"""Parts as the user wants them: structured to a type, and those that can't be as errors."""

from __future__ import annotations

from typing import Any

from .._decode.typed import structure
from .._wire.stream_parts import AnyPart, BadPart, Control, Part, PartBatch, Positions, Stretch
from ..errors import PayloadError, TriggerRealtimeError

_Positions = list[tuple[int, Positions]]
_Problems = list[tuple[AnyPart, ValueError]]


def structured(batch: PartBatch, type_: Any) -> tuple[list[Any], _Positions, _Problems]:
    """Return the good values, the positions after them, and the other parts with their problems.

    The control records of a session stand among the values.

    Args:
        type_: what each value is structured to; None leaves it as it is.
    """
    values: list[Any] = []
    positions: _Positions = []
    problems: _Problems = []
    for item in batch.items:
        if isinstance(item, BadPart):
            problems.append((item, ValueError(item.reason)))
            continue
        if isinstance(item, Control):
            if not item.is_past:
                values.append(item)
                positions.append((1, [item.position].__getitem__))
            continue
        if isinstance(item, Part):
            item = Stretch([item.value], item.index, [item.position].__getitem__)
        if type_ is None:
            values += item.values
            positions.append((len(item.values), item.positions))
        else:
            fitting = _structure_all(item, type_, values, problems)
            positions.append((len(fitting), _chosen(item.positions, fitting)))
    return values, positions, problems


def _structure_all(
    stretch: Stretch, type_: Any, values: list[Any], problems: _Problems
) -> list[int]:
    """Append the structured values, and the parts that do not fit; return the numbers of those
    that do."""
    fitting: list[int] = []
    for n, value in enumerate(stretch.values):
        try:
            values.append(structure(value, type_))
            fitting.append(n)
        except ValueError as problem:
            problems.append((Part(value, stretch.index + n, stretch.positions(n)), problem))
    return fitting


def _chosen(positions: Positions, numbers: list[int]) -> Positions:
    return lambda n: positions(numbers[n])


def failure_of(
    label: str, key: str, part: AnyPart, problem: ValueError, run_id: str | None
) -> TriggerRealtimeError:
    """Return the error that tells of a part that is none.

    Args:
        label: of its stream.
        run_id: of the run that it is of; None for a session.
    """
    if isinstance(part, BadPart) and part.report is not None:
        return part.report(f"{label}: {problem}", run_id=run_id, stream=key)
    raw = part.raw if isinstance(part, BadPart) else part.value
    return PayloadError(f"{label}: part {part.index}: {problem}", run_id=run_id, field=key, raw=raw)
