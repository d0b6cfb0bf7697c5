# SPDX-License-Identifier: Apache-2.0
# rouse: make | demo | check | bench | lint | analyze | fuzz | deb | install DESTDIR=…
# Variables: CC, SAN=1 (ASan + UBSan), WERROR=1, V=1, FUZZ_TIME=60 (seconds for each harness).

CC       ?= cc
B        := build$(if $(FUZZER),/fuzzer)$(if $(SAN),/san)$(if $(filter clang%,$(notdir $(firstword $(CC)))),/clang)
VERSION  := 0.1.0
# No clock is believed that says it is earlier; see reproducible-builds.org for the variable.
EPOCH    := $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null || date +%s))
PREFIX   ?= /usr
SBINDIR  ?= $(PREFIX)/sbin
MANDIR   ?= $(PREFIX)/share/man
UNITDIR  ?= /lib/systemd/system
SYSCONFDIR ?= /etc
comma    := ,
Q        := $(if $(V),,@)
SANFLAGS := $(if $(SAN),-fsanitize=address$(comma)undefined)$(if $(FUZZER), -fsanitize=fuzzer-no-link -DROUSE_FUZZER)
PKGS     := libcurl jansson fdisk blkid mount ext2fs libssl libcrypto libzstd liblzma zlib libbrotlidec libkmod

flag      = $(shell echo 'int x;' | $(CC) -Werror $(1) -x c -c -o /dev/null - 2>/dev/null && echo $(1))
ldflag    = $(shell echo 'int main(void) { return 0; }' | \
	$(CC) -Wl,--fatal-warnings $(1) -x c -o /dev/null - 2>/dev/null && echo $(1))
WARN     := -Wall -Wextra -Wshadow -Wundef -Wformat=2 -Wvla -Wconversion -Wno-sign-conversion \
	-Wswitch-enum -Wmissing-prototypes -Wstrict-prototypes -Wcast-align -Wimplicit-fallthrough \
	-Wwrite-strings $(if $(or $(WERROR),$(CI)),-Werror)
HARDEN   := -fstack-protector-strong $(call flag,-fstack-clash-protection) \
	$(call flag,-fcf-protection=full) $(call flag,-ftrivial-auto-var-init=zero) -fPIE
# For size: what is slow here is in the libraries, and an initramfs is read and unpacked at every boot.
SMALL    := -ffunction-sections -fdata-sections -fno-asynchronous-unwind-tables
OPT      ?= $(if $(SAN),-O1 -g -fno-omit-frame-pointer $(SANFLAGS) -fno-sanitize-recover=all,-Os -g $(SMALL) \
	-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=$(if $(call flag,-O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3),3,2))
PKGFLAGS := $(patsubst -I%,-isystem %,$(shell pkg-config --cflags $(PKGS) 2>/dev/null))
CFLAGS   ?=
ALLFLAGS := -std=gnu17 -D_GNU_SOURCE -DROUSE_VERSION='"$(VERSION)"' -Iinclude $(PKGFLAGS) $(OPT) $(WARN) $(HARDEN) $(CFLAGS)
# The loader looks a name up in one library after the other, in this order: first those in which it
# finds most of the eleven thousand names that all of them ask for.
FIRST    := $(if $(SAN)$(FUZZER),,-Wl$(comma)--push-state$(comma)--no-as-needed -lcrypto -lc -Wl$(comma)--pop-state)
LDLIBS   := $(FIRST) $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lbz2 -lcom_err -pthread
ALLLD    := -pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed -Wl,--gc-sections \
	$(call ldflag,-Wl$(comma)-z$(comma)pack-relative-relocs) $(SANFLAGS) $(LDFLAGS)

SRC      := $(sort $(wildcard agent/*.c modules/*.c modules/*/*.c))
OBJ      := $(SRC:%.c=$(B)/obj/%.o)
CORE     := $(B)/librouse.a
UNIT     := $(patsubst tests/unit/%.c,$(B)/unit/%,$(sort $(wildcard tests/unit/*.c)))
HARNESS  := $(filter-out replay,$(patsubst tests/fuzz/%.c,%,$(sort $(wildcard tests/fuzz/*.c))))
REPLAY   := $(B)/unit/fuzz-replay
TESTS    := $(UNIT) $(REPLAY)
TOOLS    := $(patsubst tests/bench/%.c,$(B)/bench/%,$(sort $(wildcard tests/bench/*.c)))

# Where make starts another make, that one uses all processors unless somebody chose a number.
J         = --no-print-directory $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc))

.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: all tools check unit demo bench lint analyze fuzz install deb rpm clean deps compile_commands.json

all: $(B)/rouse
tools: $(TOOLS)

# What a build needs is installed before anything is made of it. These goals do that themselves,
# for more than the build, and then start another make.
ifeq ($(filter clean deps check demo bench lint analyze fuzz,$(MAKECMDGOALS)),)
include $(B)/deps.mk
endif
CLANG    := $(filter clang%,$(notdir $(firstword $(CC))))
$(B)/deps.mk: packaging/deps
	$(Q)mkdir -p $(@D)
	$(Q){ command -v $(firstword $(CC)) && pkg-config --exists $(PKGS); } >/dev/null 2>&1 || \
		packaging/deps build $(if $(CLANG),clang)
	$(Q)touch $@

$(B)/rouse: $(OBJ)
	$(if $(Q),@echo '  LD      $@')
	$(Q)$(CC) $(ALLFLAGS) $(ALLLD) -o $@ $^ $(LDLIBS)

# All but main(), for tests and tools: each links what it names, not the whole agent.
$(CORE): $(filter-out $(B)/obj/agent/main.o,$(OBJ))
	$(if $(Q),@echo '  AR      $@')
	$(Q)rm -f $@
	$(Q)$(AR) rcsT $@ $^

$(B)/obj/%.o: %.c
	$(if $(Q),@echo '  CC      $<')
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALLFLAGS) -MMD -MP -c -o $@ $<

$(B)/obj/agent/tls.o: ALLFLAGS += -DROUSE_EPOCH=$(EPOCH)

$(UNIT): $(B)/unit/%: $(B)/obj/tests/unit/%.o $(CORE)
	$(if $(Q),@echo '  LD      $@')
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALLFLAGS) $(ALLLD) -o $@ $^ $(LDLIBS)

# All harnesses over their corpora, without the fuzzer.
$(REPLAY): $(HARNESS:%=$(B)/obj/tests/fuzz/%.o) $(B)/obj/tests/fuzz/replay.o $(CORE)
	$(if $(Q),@echo '  LD      $@')
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALLFLAGS) $(ALLLD) -o $@ $^ $(LDLIBS)

# What pulls of closures are measured with, and a line that is long.
$(TOOLS): $(B)/bench/%: $(B)/obj/tests/bench/%.o $(CORE)
	$(if $(Q),@echo '  LD      $@')
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALLFLAGS) $(ALLLD) -o $@ $^ $(LDLIBS)

# Programs side by side; of a test that fails, all it says.
PROVE    := -j$(shell nproc) $(if $(V),-v,--failures --comments)
# What packaging/deps installed comes first: a version manager's python3 takes ten times as long to start.
TESTPATH := PATH="/usr/sbin:/usr/bin:/sbin:/bin:$$PATH"
unit: $(TESTS)
	$(Q)packaging/deps unit
	$(Q)$(TESTPATH) prove $(PROVE) $(TESTS)

# Suites are executable scripts that print TAP; files beside them that are not executable are theirs.
SUITES   := cases cloud cache image fault fuzz boot
SCRIPTS   = $(shell find $(SUITES:%=tests/%) -maxdepth 1 -name '*.[sp][hy]' -perm -u+x 2>/dev/null | sort)

# All of it, also when a part fails; which parts failed is said at the end.
PARTS    := lint clang san suites
check:
	$(Q)packaging/deps check
	$(Q)failed=; for part in $(PARTS); do \
		$(MAKE) $(J) WERROR=1 check-$$part || failed="$$failed $$part"; \
	done; [ -z "$$failed" ] || { echo "check: failed:$$failed" >&2; exit 1; }

.PHONY: $(PARTS:%=check-%)
check-lint: lint

check-clang:
	$(Q)$(MAKE) $(J) CC=clang all

check-san:
	$(Q)$(MAKE) $(J) SAN=1 san

.PHONY: san
san: all $(TESTS)
	$(Q)$(TESTPATH) ROUSE=$(B)/rouse prove $(PROVE) $(TESTS) $(wildcard tests/cases/*.sh)

# Rows side by side: two as long as each other, most of the boots and all others, of which some may not meet
# (a /nix of their own, names in the kernel); and one of what waits more than it works.
BOOTS    := tests/boot/{boot,continue,root,storage,switch-root}.sh
WAITS    := {tests/cloud/fleet.py,tests/cloud/outage.py,tests/cloud/signals.py,tests/fault/health.py}
check-suites: all $(TESTS) $(B)/bench/delay
	$(Q)$(TESTPATH) ROUSE=$(B)/rouse prove $(PROVE) -j3 --timer --rules='seq=$(BOOTS)' --rules='seq=$(WAITS)' \
		--rules='seq=**' $(SCRIPTS) $(TESTS)

demo:
	$(Q)packaging/deps demo
	$(Q)$(MAKE) $(J) all
	$(Q)images/demo $(if $(KEEP),--keep) $(if $(AGAIN),--again)

bench:
	$(Q)packaging/deps bench
	$(Q)$(MAKE) $(J) all tools
	$(Q)$(TESTPATH) tests/bench/run.sh

fuzz:
	$(Q)packaging/deps fuzz
	$(Q)$(MAKE) $(J) CC=clang SAN=1 FUZZER=1 fuzz-built

.PHONY: fuzz-built
FUZZERS  := $(HARNESS:%=$(B)/fuzz/%)
$(FUZZERS): $(B)/fuzz/%: $(B)/obj/tests/fuzz/%.o $(CORE)
	$(if $(Q),@echo '  LD      $@')
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALLFLAGS) $(ALLLD) -fsanitize=fuzzer -o $@ $^ $(LDLIBS)

fuzz-built: all $(FUZZERS)
	$(Q)tests/fuzz/run $(B) $(HARNESS)

lint:
	$(Q)packaging/deps lint
	$(Q)CC='$(CC)' tests/lint.sh $(SRC)

analyze:
	$(Q)packaging/deps analyze
	$(Q)$(MAKE) $(J) analyze-sources

.PHONY: analyze-sources
analyze-sources:
	$(Q)for f in $(SRC); do $(CC) $(ALLFLAGS) -fanalyzer -c -o /dev/null $$f || exit 1; done
	$(Q)cppcheck --quiet --error-exitcode=1 --enable=warning,performance,portability \
		--library=.cppcheck.xml --suppress=memleak --suppress=resourceLeak \
		--suppress=uninitvar:agent/sigv4.c -Iinclude -D_GNU_SOURCE -D__x86_64__ -DROUSE_VERSION='"x"' agent modules
	$(Q)clang-tidy --quiet $(SRC) -- $(filter-out -ftrivial-auto-var-init=zero,$(ALLFLAGS))

compile_commands.json:
	$(Q){ echo '['; sep=; for f in $(SRC); do \
		printf '%s{ "directory": "%s", "file": "%s", "command": "%s" }\n' "$$sep" "$(CURDIR)" "$$f" \
			'$(CC) $(subst ",\\",$(ALLFLAGS)) -c '"$$f"; sep=,; done; echo ']'; } >$@

deps:
	$(Q)packaging/deps build

$(B)/rouse.8: $(B)/rouse packaging/man/rouse.8.in
	$(Q)$(B)/rouse schema --man >$@.schema
	$(Q)$(B)/rouse schema --settings --man >$@.settings
	$(Q)sed -e '/^@SCHEMA@$$/ { r $@.schema' -e 'd }' -e '/^@SETTINGS@$$/ { r $@.settings' -e 'd }' \
		-e 's/@VERSION@/$(VERSION)/' packaging/man/rouse.8.in >$@
	$(Q)rm $@.schema $@.settings

$(B)/completion/rouse: $(B)/rouse packaging/completion/generate
	$(Q)mkdir -p $(@D)
	$(Q)packaging/completion/generate $(B)/rouse zsh >$(@D)/_rouse
	$(Q)packaging/completion/generate $(B)/rouse fish >$(@D)/rouse.fish
	$(Q)packaging/completion/generate $(B)/rouse bash >$@

install: all $(B)/rouse.8 $(B)/completion/rouse
	install -D -m 0755 $(B)/rouse $(DESTDIR)$(SBINDIR)/rouse
	install -d -m 0755 $(DESTDIR)$(UNITDIR)
	for unit in rouse.service rouse-activate.service rouse-health.service rouse-initrd.service; do \
		sed 's,/usr/sbin/,$(SBINDIR)/,' packaging/systemd/$$unit >$(DESTDIR)$(UNITDIR)/$$unit || exit; \
		chmod 0644 $(DESTDIR)$(UNITDIR)/$$unit; \
	done
	install -D -m 0644 $(B)/rouse.8 $(DESTDIR)$(MANDIR)/man8/rouse.8
	install -D -m 0644 $(B)/completion/rouse $(DESTDIR)$(PREFIX)/share/bash-completion/completions/rouse
	install -D -m 0644 $(B)/completion/_rouse $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_rouse
	install -D -m 0644 $(B)/completion/rouse.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/rouse.fish
	install -D -m 0755 -t $(DESTDIR)$(PREFIX)/lib/dracut/modules.d/99rouse packaging/dracut/99rouse/*.sh
	install -D -m 0755 packaging/initramfs-tools/hooks/rouse $(DESTDIR)$(PREFIX)/share/initramfs-tools/hooks/rouse
	install -D -m 0644 packaging/initramfs-tools/scripts/rouse $(DESTDIR)$(PREFIX)/share/initramfs-tools/scripts/rouse
	install -d -m 0755 $(DESTDIR)$(SYSCONFDIR)/rouse/override.d $(DESTDIR)$(PREFIX)/share/doc/rouse/examples
	install -m 0644 packaging/examples/*.json $(DESTDIR)$(PREFIX)/share/doc/rouse/examples

deb: all
	$(Q)rm -rf $(B)/deb
	$(Q)$(MAKE) --no-print-directory install DESTDIR=$(B)/deb PREFIX=/usr >/dev/null
	$(Q)packaging/debian/build $(B)/deb $(VERSION) $(B)/rouse.deb
	$(if $(Q),@echo '  DEB     $(B)/rouse.deb')
	$(Q)packaging/cloud-init/build $(VERSION) $(B)/rouse-cloud-init.deb
	$(if $(Q),@echo '  DEB     $(B)/rouse-cloud-init.deb')

rpm: all
	$(Q)rm -rf $(B)/rpm
	$(Q)$(MAKE) --no-print-directory install DESTDIR=$(B)/rpm/stage PREFIX=/usr >/dev/null
	$(Q)rpmbuild -bb --quiet --define 'stage $(CURDIR)/$(B)/rpm/stage' --define 'rouse_version $(VERSION)' \
		--define '_unitdir_ /usr/lib/systemd/system' --define '_topdir $(CURDIR)/$(B)/rpm/top' packaging/rpm/rouse.spec
	$(if $(Q),@ls $(B)/rpm/top/RPMS/*/*.rpm | sed 's/^/  RPM     /')

clean:
	rm -rf build

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
