# The lab's interface. Every step below is a task of hermake (tasks/*.toml),
# and every target here is a call of it: Make keeps the order and the jobs.
#
# Works with GNU Make 3.81 (macOS) to 4.4.

# built-in rules are looked up for every file, and none of them is used here
MAKEFLAGS += -rR --no-print-directory
.SUFFIXES:

# unless told otherwise as many things at a time as there are cores, but two at
# least: images and programs are independent of each other for most of the first
# minutes, targets always
# (a make below this one shares the jobs of the first, and up to 4.3 can't see that
# here)
ifeq ($(MAKELEVEL)$(filter -j% --jobserver%,$(MAKEFLAGS)),0)
CORES := $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
MAKEFLAGS += -j$(if $(filter-out 0 1,$(CORES)),$(CORES),2)
endif

.DEFAULT_GOAL := help

# `make LAB=name`: another lab beside this one
LAB ?= lab
export LAB
# where scripts/host-packages finds or puts programs that a shell may not
export PATH := $(PATH):$(HOME)/.cargo/bin:/opt/homebrew/opt/rustup/bin:/usr/local/opt/rustup/bin:/usr/sbin:/sbin
STATE   := build/labs/$(LAB)
BIN     := build/bin
HERMAKE := $(BIN)/hermake
lab     := $(BIN)/lab
# with jobs of its own: Make's are handed to what a rule calls with `+` only, and
# `make -n` would run that
cargo   := env -u MAKEFLAGS -u MFLAGS cargo

# goals that need the tasks' rules, and so the host's probe
TASK_GOALS := $(if $(JSON),,up) up-tasks reprovision server
ifneq ($(filter $(TASK_GOALS) machine-%,$(MAKECMDGOALS)),)
include $(STATE)/tasks.mk
endif

# --- what a user types ------------------------------------------------------

.PHONY: help
help:
	@sed -n 's/^## //p' Makefile

## make up [FRESH=1]    bring the lab up: host packages, images, server, targets;
##                      what was suspended goes on, with FRESH=1 it boots;
##                      JSON=1: at its end all that came of it, as one document
.PHONY: up up-tasks
up-tasks: $(filter machine-%,$(HERMAKE_TASKS))
ifdef JSON
# all else goes to standard error, so that what is printed is the document
up:
	@+$(MAKE) up-tasks >&2; made=$$?; $(lab) status --lab $(LAB) --json --exit-code || exit $$?; exit $$made
else
up: up-tasks
	@$(lab) up-summary --lab $(LAB)
endif

.PHONY: server
server: push

## make down [HALT=1]   suspend the VMs; the next `make up` goes on in a second
##                      (HALT=1: shut them down, their disks stay)
.PHONY: down
down:
	@if [ -x $(lab) ]; then $(lab) down --lab $(LAB) $(if $(HALT),--halt); elif [ -d $(STATE)/vm ]; then \
	echo "$(STATE) is there and $(lab) is not: make up builds it"; exit 1; fi

## make clean           stop the VMs and delete all that this lab made
.PHONY: clean
clean:
	@if [ -x $(lab) ]; then $(lab) clean --lab $(LAB); elif [ -d $(STATE)/vm ]; then \
	echo "$(STATE) is there and $(lab) is not: make up builds it"; exit 1; fi

## make status          where every machine stands (JSON=1: as JSON)
.PHONY: status
status: $(lab)
	@$(lab) status --lab $(LAB) $(if $(JSON),--json)

## make watch           the same again and again, until all is ready
.PHONY: watch
watch: $(lab)
	@$(lab) watch --lab $(LAB)

## make timeline VM=target1          what happened to a machine, and when
.PHONY: timeline
timeline: $(lab)
	@$(lab) timeline --lab $(LAB) $(or $(VM),$(error say which machine: make timeline VM=target1))

## make trace           the bring-up as a Chrome trace: the last run's tasks,
##                      and every machine's stages
.PHONY: trace
trace: $(lab) $(HERMAKE)
	@mkdir -p $(STATE)
	@tasks=$(STATE)/tasks-trace.json; rm -f $$tasks; $(HERMAKE) trace --out $$tasks 2>/dev/null; \
	$(lab) trace --lab $(LAB) --out $(STATE)/trace.json $$(if [ -s $$tasks ]; then echo --merge $$tasks; fi)
	@echo "$(STATE)/trace.json: open it in https://ui.perfetto.dev or chrome://tracing"

## make logs [T=task]   what tasks printed
.PHONY: logs
logs: $(HERMAKE)
	@$(HERMAKE) log $(if $(T),--task $(T))

## make why T=task      why a task ran, or why it would run now
.PHONY: why
why: $(HERMAKE) build/host.toml
	@$(HERMAKE) why $(or $(T),$(error say which task: make why T=server-image))

## make ssh VM=target1 [CMD='uname -m']
.PHONY: ssh
ssh: $(lab)
	@$(lab) ssh --lab $(LAB) $(or $(VM),$(error say which machine: make ssh VM=server)) $(if $(CMD),-- '$(subst ','\'',$(value CMD))')

## make console VM=target1 [RO=1 [TIMES=1]]    serial console; Ctrl-] leaves it
.PHONY: console
console: $(lab)
	@$(lab) console --lab $(LAB) $(if $(RO),--ro $(if $(TIMES),--times)) $(or $(VM),$(error say which machine: make console VM=target1))

## make screen VM=target1            its display, as a picture
.PHONY: screen
screen: $(lab)
	@$(lab) screen --lab $(LAB) $(or $(VM),$(error say which machine: make screen VM=target1))

## make pcap            where the packets of the lab segment are
.PHONY: pcap
pcap: $(lab)
	@$(lab) pcap --lab $(LAB)

## make reprovision VM=target1       install a target anew
.PHONY: reprovision
reprovision: push
	@$(lab) reprovision --lab $(LAB) $(or $(VM),$(error say which machine: make reprovision VM=target1))

## make configure       probe the host anew, into build/host.toml
.PHONY: configure
configure: $(lab)
	@$(lab) configure --out build/host.toml

## make check           the quick loop: format, lints, library tests
.PHONY: check
check: build/host-packages
	@if cargo fmt --version >/dev/null 2>&1; then set -x; $(cargo) fmt --all --check; \
	else echo "no cargo fmt here: format is not checked"; fi
	@if cargo clippy --version >/dev/null 2>&1; then set -x; $(cargo) clippy --quiet --workspace --all-targets --locked -- -D warnings; \
	else echo "no cargo clippy here: lints are not checked"; fi
	$(cargo) test --quiet --locked

# One after the other: machines that boot want the processors for themselves.
## make test            every test, the lab end to end with real VMs included
.PHONY: test
test: check
	@$(MAKE) test-e2e

.PHONY: test-e2e
test-e2e: $(HERMAKE)
	$(cargo) test --locked -p e2e --test lab

## make bench [B=large] what hermake costs, beside ninja and make
.PHONY: bench
bench: $(HERMAKE)
	HERMAKE=$(abspath $(HERMAKE)) scripts/cargo-release run --quiet --locked -p hermake --example bench -- $(B)

## make bench-lab       what the lab costs: cold, down, resumed, nothing to do, and
##                      one, two, four targets at once (B=resume, B=targets)
.PHONY: bench-lab
bench-lab: $(HERMAKE)
	scripts/cargo-release run --quiet --locked -p e2e --bin bench-lab -- $(B)

# --- what that stands on ----------------------------------------------------

# Host packages; the script looks for them, so once per version of it is enough.
build/host-packages: scripts/host-packages
	@mkdir -p $(@D)
	@scripts/host-packages
	@touch $@

SOURCES := Cargo.toml Cargo.lock scripts/cargo-release $(shell find crates -name '*.rs' -o -name '*.toml' -o -name '*.sh' -o -name '*.tera')

# One cargo call makes all three programs; cargo itself knows what to build.
$(BIN)/.built: $(SOURCES) | build/host-packages
	@echo "building hermake and lab"
	@scripts/cargo-release build --quiet --locked -p hermake -p lab -p images
	@mkdir -p $(BIN)
	@made=$$(scripts/cargo-release --folder) || exit 1; for program in hermake lab lab-image; do \
		cmp -s $$made/$$program $(BIN)/$$program || { \
			cp $$made/$$program $(BIN)/.$$program.$$$$ && mv $(BIN)/.$$program.$$$$ $(BIN)/$$program; } || exit 1; \
	done
	@touch $@
$(HERMAKE) $(lab): $(BIN)/.built ;

build/host.toml: lab.toml | $(BIN)/.built
	@$(lab) configure --out $@
	@touch $@

$(STATE)/tasks.mk: hermake.toml lab.toml build/host.toml $(wildcard tasks/*.toml) $(BIN)/.built
	@$(lab) config check --in lab.toml
	@$(HERMAKE) mk --out $@
	@touch $@
