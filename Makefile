# SPDX-License-Identifier: Apache-2.0
# Everything starts from here; each target does the set-up that it needs. PYTHON=python3.12 chooses the Python.

.DEFAULT_GOAL := help
.PHONY: help setup demo room gallery pictures test lint bench quality proof recipes answers soak reliability clean

RUN := .venv/bin/python
DATA ?= ../shared/data
SEED ?= 1

help: ## print this list
	@sed -n 's/^\([a-z]*\): .*## /  make \1\t/p' Makefile | expand -t 16

setup: ## make .venv with everything in it
	@sh scripts/set_up.sh

demo: setup ## map a synthetic room and ask it three things; pictures in demo/
	@.venv/bin/ccl-lgs demo -o demo

room: setup ## make a recording of a synthetic room in room/ (SEED=3 another room), to map and to ask as your own
	@.venv/bin/ccl-lgs make-scene --seed $(SEED) -o room

gallery: setup ## make the pictures of docs/ anew from a synthetic room, its map in artifacts/gallery/
	@$(RUN) scripts/make_gallery.py artifacts/gallery/room artifacts/gallery/map $(ARGS)

pictures: setup ## map the recordings in DATA/bags and write pictures of them to artifacts/real/
	@$(RUN) scripts/make_real_pictures.py $(DATA) $(ARGS)

test: setup ## run all tests, a worker per core (ARGS="-n0" one by one); ARGS="..." goes to pytest
	@$(RUN) -m pytest -n auto --maxprocesses 4 --no-loadscope-reorder $(ARGS)

lint: setup ## check style, format and types
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m pyright

bench: setup ## measure speed and memory of this machine, 10 minutes; figures in benchmarks/results/
	@$(RUN) benchmarks/suite.py $(ARGS)

quality: setup ## map the recordings in DATA/bags, five minutes each, and score views that were held out
	@$(RUN) benchmarks/quality.py $(DATA) $(ARGS)

proof: setup ## measure what each part of the method earns (40 minutes); DATA=... holds models/, see docs/method.md
	@$(RUN) benchmarks/method.py $(DATA)

recipes: setup ## compare all recipes in rooms and on recordings (1 h); DATA=... holds models/ and bags/
	@$(RUN) benchmarks/recipes.py $(DATA) $(ARGS)

answers: setup ## measure instances, relations, parts and approach poses in rooms; DATA=... holds models/, see docs/answers.md
	@$(RUN) benchmarks/answers.py $(DATA) $(ARGS)

soak: setup ## ten minutes of camera at 30 Hz and 10 000 keyframes: nothing lost, memory flat
	@$(RUN) -m pytest -m soak $(ARGS)

reliability: setup ## run the tests of what robots do to a mapper, write docs/reliability.md
	@$(RUN) -m pytest --reliability=docs/reliability.md $(ARGS)

clean: ## remove everything that was made, .venv too
	rm -rf .venv .venv-compat build install log artifacts demo .pytest_cache .ruff_cache .hypothesis
	rm -rf *.egg-info benchmarks/__pycache__
	find ccl_lgs_ros launch scripts test -name __pycache__ -type d -prune -exec rm -rf {} +
