"""Categories that settings name, and the lake's."""

from pathlib import Path

import pytest

from pipeline.catalog import Catalog, build_catalog, check_categories
from pipeline.config import DecisionConfig, InputConfig
from pipeline.errors import ConfigError
from tests.corpus import write_files


def lake(folder: Path) -> Catalog:
    return build_catalog(InputConfig(uri=str(write_files(folder, "bottle/a.png", "line 1/a.png", "line 2/a.png"))))


def decision(of: str, *categories: str) -> DecisionConfig:
    rule = "auto" if of == "image" else "quantile"
    return DecisionConfig.model_validate({of: {"rule": rule, "categories": {name: 0.25 for name in categories}}})


@pytest.mark.parametrize("of", ["image", "pixel"])
def test_a_misspelt_category_is_refused_with_the_nearest(of: str, tmp_path: Path) -> None:
    said = f"decision.{of}.categories names 'bottel', which the lake does not have; did you mean 'bottle'?"
    with pytest.raises(ConfigError) as caught:
        check_categories(decision(of, "bottel", "line 1"), lake(tmp_path))
    assert str(caught.value) == said


def test_a_category_that_the_lake_does_not_have_today_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    check_categories(decision("image", "line 1", "line 2", "line 3", "bottle"), lake(tmp_path))
    assert caplog.messages == ["settings decision.image.categories names 'line 3', which the lake does not have"]


def test_a_category_in_another_form_of_unicode_is_the_lakes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_files(tmp_path, "Pru\u0308fung/a.png")
    catalog = build_catalog(InputConfig(uri=str(tmp_path)))
    for name in ("Pr\u00fcfung", "Pru\u0308fung"):
        check_categories(decision("image", name), catalog)
    assert not caplog.messages
