# Moon's build: one file. `make help` names the words, tests/README.md tells how tests are found.
#
# MODE=release|debug|asan|tsan|fuzz   each in its own build/<mode>/
# WERROR=1 (or CI=1)                  warnings are errors
# T=<name>                            check, check-tsan, sim, fuzz, bench: only this one
# LTO= HARDEN=                        release without link-time optimisation, without run-time hardening
# V=1                                 show the commands

MODE ?= release
VERSION := 0.1.0
PREFIX ?= /usr/local
OUT := build/$(MODE)

ifneq ($(filter-out release debug asan tsan fuzz,$(MODE)),)
$(error MODE is one of release debug asan tsan fuzz, not $(MODE))
endif

MAKEFLAGS += --no-builtin-rules --no-print-directory
.SUFFIXES:
.DELETE_ON_ERROR:
.SECONDARY:
Q := $(if $(V),,@)

# ---- rooms: folders, their floors and what they stand on come from tests/lint/floors.txt

FLOORS := tests/lint/floors.txt
# Highest floor first, which is the order in which archives are linked.
ROOMS := $(shell sort -k2,2nr -s $(FLOORS) | awk '$$1 == "room" { print $$3 }')
# BELOW_<room>: all rooms it may call, directly or through others, highest floor first.
$(foreach line,$(shell awk ' \
    $$1 == "room" { floor[$$3] = $$2; name[++n] = $$3; for (i = 5; i <= NF; i++) may[$$3] = may[$$3] " " $$i } \
    function room_of(path) { while (path != "" && !(path in floor)) { if (!sub(/\/[^\/]*$$/, "", path)) return "" } return path } \
    function visit(r, top,    parts, k, i, t) { \
        k = split(may[r], parts, " "); \
        for (i = 1; i <= k; i++) { t = room_of(parts[i]); \
            if (t != "" && floor[t] < floor[r] && !((top, t) in seen)) { seen[top, t] = 1; visit(t, top) } } } \
    END { for (i = 1; i <= n; i++) { visit(name[i], name[i]); line = "BELOW_" name[i] ":="; \
              for (f = 9; f >= 0; f--) for (j = 1; j <= n; j++) \
                  if (floor[name[j]] == f && ((name[i], name[j]) in seen)) line = line "@" name[j]; \
              print line } }' $(FLOORS)),$(eval $(subst @, ,$(line))))
ifeq ($(ROOMS),)
$(error no rooms in $(FLOORS))
endif

# Sources of a room: its folder and one level below, without what belongs to a room inside it.
room_all = $(filter-out $(foreach r,$(filter $1/%,$(ROOMS)),$r/%),$(sort $(wildcard $1/*.c $1/*/*.c)))
room_srcs = $(filter-out node/main.c cli/main.c,$(call room_all,$1))
room_of = $(lastword $(sort $(foreach r,$(ROOMS),$(if $(filter $r $r/%,$1),$r))))
lib_of = $(OUT)/lib$(subst /,_,$1).a
# What protoc-c makes of a room's *.proto; in build/, never committed.
protos_of = $(patsubst %.proto,$(OUT)/%.pb-c.o,$(wildcard $1/*.proto))
# A room without sources has no archive yet.
libs_of = $(foreach r,$1,$(if $(call room_srcs,$r),$(call lib_of,$r)))
objs_of = $(patsubst %.c,$(OUT)/%.o,$1)

# ---- flags

CC_fuzz := clang
CC := $(or $(CC_$(MODE)),gcc)
AR_release := gcc-ar
AR := $(or $(AR_$(MODE)),ar)

# Checked on every build; -Werror only where a machine builds.
WARN := -Wall -Wextra -Wshadow -Wconversion -Wvla -Walloca -Wformat=2 -Wundef -Wstrict-prototypes \
    -Wmissing-prototypes -Wold-style-definition -Wpointer-arith -Wcast-qual -Wcast-align=strict \
    -Wwrite-strings -Wswitch-enum -Wimplicit-fallthrough=5 -Wlogical-op -Wduplicated-cond \
    -Wduplicated-branches -Wnull-dereference -Wdouble-promotion -Wjump-misses-init \
    -Wuse-after-free=3 -Wframe-larger-than=16384
# Sanitizers put checks into the paths that these two follow: they then warn of what cannot happen.
WARN_asan := -Wno-null-dereference -Wno-maybe-uninitialized
WARN_tsan := $(WARN_asan)
WARN_fuzz := -Wno-unknown-warning-option -Wthread-safety -Wcomma

# Code that runs in production only to stop an attacker. Each costs something: measure, then decide.
HARDEN ?= -fstack-protector-strong -fstack-clash-protection -D_FORTIFY_SOURCE=3 -ftrivial-auto-var-init=zero
LTO ?= -flto
ARCH := $(if $(filter x86_64,$(shell uname -m)),-march=x86-64-v2)

CODE := -std=gnu17 -D_GNU_SOURCE -g -fno-omit-frame-pointer -fno-strict-aliasing -fno-common $(ARCH)
CODE_release := -O2 $(LTO) -ffunction-sections -fdata-sections $(HARDEN)
CODE_debug := -Og -DMOON_TEST $(HARDEN)
SAN_asan := -fsanitize=address,undefined -fno-sanitize-recover=all
SAN_tsan := -fsanitize=thread
SAN_fuzz := -fsanitize=address,undefined -fno-sanitize-recover=all
CODE_asan := -O1 -DMOON_SANITIZE -DMOON_TEST $(SAN_asan)
CODE_tsan := -O1 -DMOON_SANITIZE -DMOON_TEST $(SAN_tsan)
CODE_fuzz := -O1 -DMOON_SANITIZE -DMOON_TEST -DMOON_FUZZ $(SAN_fuzz) -fsanitize=fuzzer-no-link

WERROR ?= $(CI)
COMPILE = $(CC) $(CODE) $(CODE_$(MODE)) $(WARN) $(WARN_$(MODE)) -I. -I$(OUT) $(CFLAGS)
LINK_release := -O2 $(if $(LTO),$(LTO)=auto) -Wl,--gc-sections
LINK = $(CC) -g $(ARCH) $(LINK_$(MODE)) $(SAN_$(MODE)) $(LDFLAGS)

# Third-party libraries by the room that opens the door to them (floors.txt); static where Debian
# has the archive. Sanitizers bring their own allocator.
LIBS_shard/base := $(if $(filter release debug,$(MODE)),-l:libjemalloc_pic.a) -lpthread -lm
LIBS_shard/rt := -l:liburing.a -l:libssl.a -l:libcrypto.a
LIBS_shard/script := -l:liblua5.4.a
LIBS_cluster := -l:libprotobuf-c.a
LIBS_raftlog := -l:libraft.a
third_party = $(foreach r,$1,$(LIBS_$r))

# ---- what there is to build

PROGRAMS := $(if $(wildcard node/main.c),$(OUT)/moon) $(if $(wildcard cli/main.c),$(OUT)/moonctl)
UNIT_SRCS := $(sort $(foreach depth,* */* */*/* */*/*/*,$(wildcard tests/unit/$(depth)/test_*.c)))
TSAN_SRCS := $(filter tests/unit/shard/rt/test_mailbox% tests/unit/shard/rt/test_reactor% \
    tests/unit/shard/journal/test_track%,$(UNIT_SRCS))
# tests/sim: sim_*.c are programs, the rest is the simulated world they (and unit tests) run in.
SIM_SRCS := $(sort $(wildcard tests/sim/sim_*.c))
FUZZ_SRCS := $(sort $(wildcard tests/fuzz/fuzz_*.c))
BENCH_SRCS := $(sort $(wildcard tests/bench/bench_*.c))
# tests/proc: programs that the system tests run as processes.
PROC_SRCS := $(sort $(wildcard tests/proc/proc_*.c))
HELP_SRCS := $(sort $(filter-out $(SIM_SRCS),$(wildcard tests/lib/*.c tests/sim/*.c)))
HELP_LIB := $(if $(HELP_SRCS),$(OUT)/libtests.a)
one = $(if $(T),$(filter %/$(T).c tests/unit/$(T).c,$1),$1)
bins = $(patsubst %.c,$(OUT)/%,$(call one,$1))
none_named = $(if $(and $(T),$(if $(call one,$1),,x)),$(error no test named $(T)))

.PHONY: all run test check check-tsan unit-programs tsan-programs sim sim-programs fuzz fuzz-programs \
    bench bench-programs proc-programs lint format install clean help FORCE

all: $(PROGRAMS) $(call libs_of,$(ROOMS))

help:
	@echo 'make [MODE=debug|asan]   moon and moonctl in build/<mode>/ (release)'
	@echo 'make run                 what is missing, build, one node in the foreground'
	@echo 'make test                what is missing, build, all tests, one summary'
	@echo 'make check [T=shard/ds/test_table]   unit tests under ASan and UBSan'
	@echo 'make check-tsan [T=…]    the tests of mailbox and reactor under TSan'
	@echo 'make sim [T=…]           simulations with their fixed seeds'
	@echo 'make fuzz [T=…] [FUZZ_SECONDS=10]    every fuzz target for some seconds'
	@echo 'make bench [BENCH=--quick]   moon beside redis-server; docs/benchmarks.md'
	@echo 'make bench T=bench_resp  one microbenchmark of tests/bench, release build'
	@echo 'make lint                the rules of the tree; make format rewrites by .clang-format'
	@echo 'make install [PREFIX=/usr/local] [DESTDIR=…]'
	@echo 'make clean               removes what was compiled; build/venv and build/run stay'

# ---- compile

$(OUT)/%.o: %.c $(OUT)/.flags | $(OUT)/version.h
	@mkdir -p $(@D)
	$(if $(V),,@echo '  CC   $(OUT)/$*.o')
	$(Q)$(COMPILE) $(if $(WERROR),-Werror) -MMD -MP -c -o $@ $<

# -w: generated code is not ours to mend.
$(OUT)/%.pb-c.c: %.proto $(OUT)/.flags
	@mkdir -p $(@D)
	$(if $(V),,@echo '  PB   $@')
	$(Q)protoc-c --c_out=$(OUT) $<
$(OUT)/%.pb-c.o: $(OUT)/%.pb-c.c
	$(Q)$(COMPILE) -w -c -o $@ $<
# Other flags, other objects: a change on the command line or here rebuilds what it concerns.
$(OUT)/.flags: FORCE
	@mkdir -p $(@D)
	@echo '$(COMPILE) | $(LINK)' | cmp -s - $@ || echo '$(COMPILE) | $(LINK)' >$@

# A source that was moved or removed must leave its archive.
$(OUT)/.sources: FORCE
	@mkdir -p $(@D)
	@echo '$(foreach r,$(ROOMS),$(call room_srcs,$r)) $(HELP_SRCS)' | cmp -s - $@ || \
	    echo '$(foreach r,$(ROOMS),$(call room_srcs,$r)) $(HELP_SRCS)' >$@

# MOON_COMMIT is missing outside a git checkout. Rewritten only when it changes.
$(OUT)/version.h: FORCE
	@mkdir -p $(@D)
	@{ echo '#define MOON_VERSION "$(VERSION)"'; \
	   commit=$$(git rev-parse --short=12 HEAD 2>/dev/null) && echo "#define MOON_COMMIT \"$$commit\""; :; } >$@.$$$$ && \
	 if cmp -s $@.$$$$ $@; then rm -f $@.$$$$; else mv -f $@.$$$$ $@; fi

define archive_rule
$(call lib_of,$1): $(call objs_of,$(call room_srcs,$1)) $(call protos_of,$1) $(OUT)/.sources
$(if $(call protos_of,$1),$(call objs_of,$(call room_srcs,$1)): | $(patsubst %.o,%.c,$(call protos_of,$1)))
endef
$(foreach r,$(ROOMS),$(if $(call room_srcs,$r),$(eval $(call archive_rule,$r))))
$(OUT)/libtests.a: $(call objs_of,$(HELP_SRCS)) $(OUT)/.sources
$(OUT)/lib%.a:
	$(if $(V),,@echo '  AR   $@')
	@rm -f $@
	$(Q)$(AR) rcs $@ $(filter %.o,$^)

# ---- link

# link_rule: program, its own objects, rooms (highest first), helper archive, further flags
define link_rule
$1: $2 $4 $(call libs_of,$3) $(OUT)/.flags
	@mkdir -p $$(@D)
	$$(if $$(V),,@echo '  LD   $$@')
	$$(Q)$$(LINK) $5 -o $$@ $2 $4 $(call libs_of,$3) $(call third_party,$3) $6
endef

CLI_ROOMS := cli $(BELOW_cli)
NODE_ROOMS := $(filter-out cli,$(ROOMS))
$(eval $(call link_rule,$(OUT)/moon,$(OUT)/node/main.o,$(NODE_ROOMS)))
$(eval $(call link_rule,$(OUT)/moonctl,$(OUT)/cli/main.o,$(CLI_ROOMS)))

# A unit test links its room and the floors below, no others: a call upward does not link. Files
# beside it that are not test_*.c are shared by the tests of that folder.
unit_room = $(call room_of,$(patsubst tests/unit/%/,%,$(dir $1)))
unit_shared = $(filter-out $(dir $1)test_%,$(wildcard $(dir $1)*.c))
$(foreach s,$(UNIT_SRCS),$(if $(call unit_room,$s),,$(error $s: its folder is no room of $(FLOORS))) \
    $(eval $(call link_rule,$(s:%.c=$(OUT)/%),$(call objs_of,$s $(call unit_shared,$s)),$(call \
        unit_room,$s) $(BELOW_$(call unit_room,$s)),$(HELP_LIB),,-lcmocka)))
$(foreach s,$(SIM_SRCS) $(BENCH_SRCS) $(PROC_SRCS),\
    $(eval $(call link_rule,$(s:%.c=$(OUT)/%),$(call objs_of,$s),$(NODE_ROOMS),$(HELP_LIB))))
$(foreach s,$(FUZZ_SRCS),\
    $(eval $(call link_rule,$(s:%.c=$(OUT)/%),$(call objs_of,$s),$(NODE_ROOMS),$(HELP_LIB),-fsanitize=fuzzer)))

# ---- the other words

run:
	@sh deploy/setup run

test:
	@sh deploy/setup test

unit-programs: $(call bins,$(UNIT_SRCS))
tsan-programs: $(call bins,$(TSAN_SRCS))
sim-programs: $(call bins,$(SIM_SRCS))
fuzz-programs: $(call bins,$(FUZZ_SRCS))
bench-programs: $(call bins,$(BENCH_SRCS))
proc-programs: $(PROC_SRCS:%.c=$(OUT)/%)

# build_and_run: mode, kind, sources. What does not build fails; the rest still runs.
define build_and_run
@status=0; $(MAKE) -s -k MODE=$1 $2-programs || status=1; \
    sh tests/run-each $2 $(patsubst %.c,build/$1/%,$(call one,$3)) || status=1; exit $$status
endef

check:
	$(call none_named,$(UNIT_SRCS))
	+$(call build_and_run,asan,unit,$(UNIT_SRCS))

check-tsan:
	+$(call build_and_run,tsan,tsan,$(TSAN_SRCS))

sim:
	$(call none_named,$(SIM_SRCS))
	+$(call build_and_run,asan,sim,$(SIM_SRCS))

export FUZZ_SECONDS ?= 10
fuzz:
	$(call none_named,$(FUZZ_SRCS))
	+$(call build_and_run,fuzz,fuzz,$(FUZZ_SRCS))

# The product beside redis-server; with T a microbenchmark of one room.
bench:
ifeq ($(T),)
	@$(MAKE) -s MODE=release all
	@python3 tests/bench/bench.py $(BENCH)
else
	$(call none_named,$(BENCH_SRCS))
	@$(MAKE) -s MODE=release bench-programs
	@for b in $(patsubst %.c,build/release/%,$(call one,$(BENCH_SRCS))); do echo "== $$b"; $$b || exit 1; done
endif

lint:
	@status=0; python3 tests/lint/lint || status=1; python3 tests/lint/selftest || status=1; \
	    python3 tests/selftest || status=1; exit $$status

format:
	@git ls-files -co --exclude-standard '*.c' '*.h' | xargs clang-format -i

install: all
	install -d $(DESTDIR)$(PREFIX)/bin
	$(if $(PROGRAMS),install -m 755 $(PROGRAMS) $(DESTDIR)$(PREFIX)/bin/)

clean:
	rm -rf build/release build/debug build/asan build/tsan build/fuzz build/test-logs

-include $(patsubst %.c,$(OUT)/%.d,$(foreach r,$(ROOMS),$(call room_all,$r)) \
    $(HELP_SRCS) $(UNIT_SRCS) $(SIM_SRCS) $(FUZZ_SRCS) $(BENCH_SRCS) $(PROC_SRCS) \
    $(foreach s,$(UNIT_SRCS),$(call unit_shared,$s)))
