"""A run id that was used before: its run is finished, or taken up, or another one's."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import ConfigDict, JsonValue, TypeAdapter
from typing_extensions import TypedDict

from pipeline.config import FamiliesConfig, InputConfig, ScoreConfig, TilesConfig
from pipeline.errors import ConfigError
from pipeline.io.json_file import read_json
from pipeline.result import Result, read_result
from pipeline.schema.record import Settings, upgrade_settings
from pipeline.store.run_folder import RunFolder, write_json


class _Begun(TypedDict):
    """What settings.json holds, among others."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]  # as pydantic asks for it
    input: dict[str, JsonValue]
    encoder: dict[str, JsonValue]


_SETTINGS = TypeAdapter(_Begun)

log = logging.getLogger(__name__)


def identity(config: ScoreConfig) -> Settings:
    """Return the settings that decide the results; where and how fast they are computed is none of them."""
    kept = config.model_dump(mode="json", exclude={"output", "ray", "drift", "report", "log"})
    kept["input"].pop("max_seconds")
    # as they are usually, a run is the same as one of before there were any
    for name in ("bits", "channels", "region", "box", "group", "smallest_defect", "max_pixels"):
        if getattr(config.input, name) == InputConfig.model_fields[name].default:
            kept["input"].pop(name)
    for name, usual in (("families", FamiliesConfig()), ("tiles", TilesConfig())):  # likewise
        if getattr(config, name) == usual:
            kept.pop(name)
    kept["search"].pop("memory_gb")
    kept["references"].pop("quadratic")
    for name in ("thin", "turns"):  # likewise
        if kept["references"][name] == 1:
            kept["references"].pop(name)
    return kept


def finished_run(folder: RunFolder, settings: Settings) -> Result | None:
    """Return what a run published, and do what it may have left undone; None when it has published nothing yet."""
    published = folder.finished()
    if published is None:
        return None
    check_same(folder, settings, published.settings)
    log.info("run %s is finished already; nothing was done", folder.run_id)
    if folder.work.exists():
        replace(folder, attempt=published.attempt).point_at_it()
    return read_result(folder)


def check_same(folder: RunFolder, settings: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    settings, before = upgrade_settings(settings), upgrade_settings(before)
    groups = [*settings, *(group for group in before if group not in settings)]
    if different := [group for group in groups if settings.get(group) != before.get(group)]:
        raise ConfigError(
            f"run {folder.run_id} in {folder.output} was made with other settings ({', '.join(different)}); "
            "choose another output.run_id"
        )


def begin(folder: RunFolder, settings: Settings) -> RunFolder:
    """Claim the run's work folder, which also shows that the output can be written before hours are spent.

    Returns the places of this attempt.
    """
    begun = folder.work / "settings.json"
    if (before := read_json(begun, _SETTINGS, "units of other settings are done again")) is not None:
        check_same(folder, settings, before)
        log.info("run %s was begun before; what it finished is kept", folder.run_id)
    write_json(begun, settings)
    return folder.begin_attempt()
