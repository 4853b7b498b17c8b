# Every goal sets up what it needs by itself: python3 (with venv) and make are enough to begin with.
#
#   make demo          a web server that answers at once, and the daemon that does the work behind it
#   make test          the whole suite, on the newest versions of what we depend on
#   make test-oldest   the same suite on the oldest ones (Debian 12's); they want Python 3.11, see PYTHON
#   make lint          ruff and mypy
#   make torture       kills, power cuts, failing disks: ten minutes; TORTURE=long takes hours, SEED and PARTS repeat one
#   make bench         the figures of this machine, beside Redis where it is installed; JSON=file writes them too
#
# Two need more: the system tests build uWSGI, which takes a C compiler and Python's headers; the torture takes cc too.

PYTHON ?= python3
TESTS ?= tests
# Three tests at a time: half of what the suite takes is waiting, for deadlines and for pauses that are to be long.
WORKERS ?= 3
PYTEST := -m pytest --numprocesses $(WORKERS) --dist worksteal
VENV := .venv
OLDEST := .venv-oldest
PIP_FLAGS := --quiet --disable-pip-version-check
# A plain path entry: the default hook for editable packages costs every interpreter milliseconds at its start.
EDITABLE := --config-settings editable_mode=compat --editable

.PHONY: help demo test test-oldest torture lint bench clean

help:
	@awk '/^$$/ { exit } { sub(/^# ?/, ""); print }' Makefile

demo: $(VENV)/.run
	$(VENV)/bin/python tests/demo.py

test: $(VENV)/.test
	$(VENV)/bin/python $(PYTEST) $(TESTS)

test-oldest: $(OLDEST)/.test
	$(OLDEST)/bin/python $(PYTEST) $(TESTS)

torture: $(VENV)/.run
	$(VENV)/bin/python -m tests.torture $(PARTS) --size $(or $(TORTURE),usual) $(if $(SEED),--seed $(SEED))

lint: $(VENV)/.lint
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

bench: $(VENV)/.bench
	$(VENV)/bin/python -m tests.benchmarks $(if $(JSON),--json $(JSON))

clean:
	rm -rf $(VENV) $(OLDEST) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache

# The stamps: each stands for one set-up that went through, and is older than what it was made from when that changed.

$(VENV)/.made $(OLDEST)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "cannot set up: $(PYTHON) is older than 3.11, give another one with make PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(@D)
	touch $@

$(VENV)/.run: $(VENV)/.made pyproject.toml
	$(VENV)/bin/pip install $(PIP_FLAGS) $(EDITABLE) .
	touch $@

$(VENV)/.test: $(VENV)/.run
	$(VENV)/bin/pip install $(PIP_FLAGS) $(EDITABLE) '.[test]'
	touch $@

$(VENV)/.bench: $(VENV)/.run
	$(VENV)/bin/pip install $(PIP_FLAGS) $(EDITABLE) '.[bench]'
	touch $@

$(VENV)/.lint: $(VENV)/.run
	$(VENV)/bin/pip install $(PIP_FLAGS) $(EDITABLE) '.[lint]'
	touch $@

$(OLDEST)/.test: $(OLDEST)/.made pyproject.toml $(OLDEST)/.msgpack
	$(OLDEST)/bin/pip install $(PIP_FLAGS) trio==0.22.0 msgpack==1.0.3 click==8.1.3 $(EDITABLE) '.[test]'
	touch $@

# msgpack 1.0.3 came before Python 3.11. PyPI has no wheel of it, and its C source as generated then does not compile:
# pip would install the pure Python fallback without a word. Debian's package is built as below, generated anew; the
# four functions have since become public. Without a compiler the fallback is what is tested; the suite's head names it.
MSGPACK := $(OLDEST)/msgpack-1.0.3
RENAMED := $(foreach name,Pack4 Pack8 Unpack4 Unpack8,-D_PyFloat_$(name)=PyFloat_$(name))

$(OLDEST)/.msgpack: $(OLDEST)/.made
	if command -v cc >/dev/null; then \
	  $(OLDEST)/bin/pip install $(PIP_FLAGS) 'Cython<3' 'setuptools<70' wheel && \
	  $(OLDEST)/bin/pip download $(PIP_FLAGS) --no-build-isolation --no-deps --no-binary :all: \
	    --dest $(OLDEST) msgpack==1.0.3 && \
	  tar -xzf $(MSGPACK).tar.gz -C $(OLDEST) && rm $(MSGPACK)/msgpack/_cmsgpack.cpp && \
	  CFLAGS="-fpermissive -w $(RENAMED)" $(OLDEST)/bin/pip install $(PIP_FLAGS) \
	    --no-build-isolation --no-deps --no-cache-dir --force-reinstall ./$(MSGPACK) && \
	  $(OLDEST)/bin/python -c 'import msgpack._cmsgpack'; \
	else \
	  echo "no C compiler: msgpack 1.0.3 is tested as its pure Python fallback" >&2; \
	fi
	touch $@
