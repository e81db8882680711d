"""Which model of a file is meant, and whether all of its weights are used."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

from lstmcore.errors import LoadError
from lstmcore.formats.source import FoundModel, Source

Scope = str | Sequence[str] | None


def pick(source: Source, scope: Scope) -> FoundModel:
    """The model that ``scope`` names. Raises LoadError, listing what there is."""
    models = {model.scope: model for model in source.models}
    if not models:
        raise no_models(source)
    listed = ", ".join(repr(name) for name in list(models)[:8])
    listed += f" and {len(models) - 8} more" if len(models) > 8 else ""
    if scope is None:
        if len(models) > 1:
            raise source.error(
                f"holds {len(models)} LSTM models: {listed}. Pass scope=... to choose one, or use "
                "lstmcore.open_models"
            )
        return next(iter(models.values()))
    if isinstance(scope, str):
        return _named(source, models, scope, listed)
    parts = [_named(source, models, name, listed) for name in scope]
    if not parts:
        raise source.error(f"scope: expected at least one name of {listed}")
    return FoundModel(
        "+".join(part.scope for part in parts),
        tuple(layer for part in parts for layer in part.layers),
        tuple(dict.fromkeys(note for part in parts for note in part.notes)),
        next((part.problem for part in parts if part.problem), None),
    )


def _named(source: Source, models: dict[str, FoundModel], scope: str, listed: str) -> FoundModel:
    name = scope.strip(source.separator)
    if scope in models or name in models:
        return models.get(scope) or models[name]
    below = [m for key, m in models.items() if key.startswith(name + source.separator) or not name]
    if len(below) == 1:
        return below[0]
    several = ", ".join(repr(model.scope) for model in below[:8])
    what = (
        f"holds several models under {scope!r}: {several}"
        if below
        else (f"has no LSTM model {scope!r}; there are {listed}")
    )
    raise source.error(f"{what}. Pass scope=... to choose one")


def no_models(source: Source) -> LoadError:
    shown = ", ".join(list(source.tensors)[:5])
    return source.error(
        f"no LSTM in this file ({source.format}, {len(source.tensors)} tensors"
        + (f": {shown}, ...)" if shown else ")")
    )


def check_loadable(source: Source, found: FoundModel) -> None:
    if found.problem:
        raise source.error(f"{found.scope!r}: {found.problem}")


def unused_tensors(source: Source, found: FoundModel, scope: Scope) -> list[str]:
    """Weights in the scope that ``found`` does not use."""
    used = {origin for name in found.names for origin in source.origins(name)} | found.names
    inside = set(source.tensors)
    if scope is not None:
        prefix = found.scope + source.separator
        inside = {name for name in inside if name.startswith(prefix)} if found.scope else inside
    others = {name for model in source.models for name in model.names}
    return sorted(inside - used - source.foreign - (others if scope is None else set()))


def check_all_used(source: Source, found: FoundModel, scope: Scope, ignore: Sequence[str]) -> None:
    if isinstance(ignore, str):
        raise TypeError(f"ignore: expected a list of names, got {ignore!r}")
    unused = [
        name
        for name in unused_tensors(source, found, scope)
        if not any(
            name == entry
            or name.startswith(entry.rstrip(source.separator) + source.separator)
            or fnmatch.fnmatchcase(name, entry)
            for entry in ignore
        )
    ]
    if unused:
        shown = ", ".join(unused[:6]) + (", ..." if len(unused) > 6 else "")
        raise source.error(
            f"{len(unused)} tensors were not used: {shown}. Pass scope={found.scope!r} for that "
            "model alone, or ignore=[...] if that is meant"
        )
