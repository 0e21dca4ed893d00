# nslua: `make` builds build/nslua/core.so and build/bin/nslua; both can be used from the checkout.
# `make demo` and `make test` also install the Debian packages they need, by name.
# A packager may set: CC CFLAGS LDFLAGS PREFIX DESTDIR LUA LUAPC PKG_CONFIG OBJCOPY LIBLUA BUILD
LUA        ?= lua5.4
LUAPC      ?= lua5.4
PKG_CONFIG ?= pkg-config
OBJCOPY    ?= objcopy
PREFIX     ?= /usr/local
DESTDIR    ?=
BUILD      ?= build
BINDIR     ?= $(PREFIX)/bin
LUADIR     ?= $(PREFIX)/share/lua/5.4
LUACDIR    ?= $(PREFIX)/lib/lua/5.4
DOCDIR     ?= $(PREFIX)/share/doc/nslua
MANDIR     ?= $(PREFIX)/share/man
COMPDIR    ?= $(PREFIX)/share/bash-completion/completions
# For what is made on the way to tests; a make with -j of its own keeps that.
JOBS        = $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc))
# Where the test targets add up their counts; empty: nowhere.
RESULTS    ?=

CFLAGS  ?= -O2 -g
WARN     = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes
INCLUDE := $(shell $(PKG_CONFIG) --cflags $(LUAPC) libmnl 2>/dev/null)
MNL     := $(shell $(PKG_CONFIG) --libs libmnl 2>/dev/null)
LIBLUA  ?= $(shell $(PKG_CONFIG) --variable=libdir lua5.4 2>/dev/null)/liblua5.4.a
VERSION := $(shell sed -n 's/.*_VERSION = "nslua \(.*\)".*/\1/p' lua/nslua/init.lua)
override CFLAGS += -std=gnu11 -D_GNU_SOURCE -fPIC -fvisibility=hidden $(WARN) -MMD -MP $(INCLUDE)

# These are the host; everything else in c/ is the module.
HOST     = nslua state arena interrupt finish embed getopt regex
HOST_OBJ = $(patsubst %,$(BUILD)/%.o,$(HOST) files)
CORE_OBJ = $(patsubst c/%.c,$(BUILD)/%.o,$(filter-out $(HOST:%=c/%.c),$(wildcard c/*.c)))
LUA_SRC  = $(shell find lua -name '*.lua' | sort)

all: $(BUILD)/nslua/core.so $(BUILD)/bin/nslua

module: $(BUILD)/nslua/core.so

$(BUILD)/%.o: c/%.c
	$(if $(MNL),,$(error pkg-config does not find libmnl or $(LUAPC): tools/setup build says what is missing))
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -c -o $@ $<
$(BUILD)/nslua/core.so: $(CORE_OBJ)
	@mkdir -p $(@D)
	$(CC) -shared $(LDFLAGS) -o $@ $^ $(MNL)

$(BUILD)/nslua.o: override CFLAGS += -DNSLUA_VERSION='"$(VERSION)"'
$(BUILD)/nslua.o: lua/nslua/init.lua
$(BUILD)/files.c: tools/embed.lua tools/strip.lua $(LUA_SRC) $(shell find lua -type d)
	@mkdir -p $(@D)
	@echo embed $(words $(LUA_SRC)) files
	@$(LUA) tools/embed.lua lua "$$($(LUA) -v 2>&1)" $(LUA_SRC) > $@.tmp
	@mv $@.tmp $@
$(BUILD)/files.o: $(BUILD)/files.c
	$(CC) $(CFLAGS) -Ic -c -o $@ $<

# Some functions of Lua get another name, so that interrupt.c and arena.c can stand before them.
$(BUILD)/lua.o: $(LIBLUA) Makefile
	@mkdir -p $(BUILD)/lua
	cd $(BUILD)/lua && ar x $(LIBLUA) ldo.o lstate.o lapi.o
	$(LD) -r -o $@ $(BUILD)/lua/ldo.o $(BUILD)/lua/lstate.o $(BUILD)/lua/lapi.o
	$(OBJCOPY) --redefine-sym lua_resume=nslua_lua_resume --redefine-sym lua_pcallk=nslua_lua_pcallk \
	  --redefine-sym lua_resetthread=nslua_lua_resetthread --redefine-sym lua_closethread=nslua_lua_closethread \
	  --redefine-sym lua_newstate=nslua_lua_newstate $@

# Lua is linked in whole and exported, so that C modules can be required; at fixed addresses, for the heap that goes in last.
$(BUILD)/nslua.empty: $(HOST_OBJ) $(CORE_OBJ) $(BUILD)/lua.o
	$(CC) $(LDFLAGS) -no-pie -Wl,-E -o $@ $^ $(LIBLUA) $(MNL) -lm -ldl

# What a run would do first is done here, once (c/arena.c). Where it cannot be, as in a cross build (HEAP=no), each run does it.
HEAP ?= yes
$(BUILD)/bin/nslua: $(BUILD)/nslua.empty tools/heap.lua
	@mkdir -p $(@D)
ifeq ($(HEAP),yes)
	$< --save-heap $(BUILD)/heap tools/heap.lua
	$(OBJCOPY) --update-section .nslua_heap=$(BUILD)/heap $< $@
else
	cp $< $@
endif

install: all
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(LUADIR) $(DESTDIR)$(LUACDIR)/nslua $(DESTDIR)$(DOCDIR) \
	  $(DESTDIR)$(MANDIR)/man1 $(DESTDIR)$(COMPDIR)
	install -m 755 $(BUILD)/bin/nslua $(DESTDIR)$(BINDIR)
	install -m 644 $(BUILD)/nslua/core.so $(DESTDIR)$(LUACDIR)/nslua
	cd lua && find nslua -name '*.lua' -exec install -D -m 644 {} $(abspath $(DESTDIR)$(LUADIR))/{} \;
	install -m 644 doc/nslua.1 $(DESTDIR)$(MANDIR)/man1
	$(BUILD)/bin/nslua help --completion bash > $(DESTDIR)$(COMPDIR)/nslua
	cp -r LICENSE README.md CHANGELOG.md doc examples $(DESTDIR)$(DOCDIR)

demo:
	tools/setup demo
	$(MAKE) $(JOBS) all
	$(BUILD)/bin/nslua examples/demo.lua

test:
	tools/setup test
	$(MAKE) $(JOBS) all
	tools/test

# On Debian 12's kernels, in a machine without KVM: they have kinds of link that the kernel here may lack, and lack what it has.
test-vm:
	tools/setup vm
	$(MAKE) $(JOBS) all
	tools/vm $(if $(RESULTS),--results $(RESULTS))

# What runs the specs: one process for each file, and a look at what is left behind.
RUN_SPECS = $(LUA) tools/spec.lua $(if $(RESULTS),--results $(RESULTS))

lint:
	luacheck -q lua spec examples tools/*.lua bench *.rockspec .busted .luacheckrc
	luarocks --lua-version 5.4 lint nslua-scm-1.rockspec
	cppcheck -q --std=c11 --enable=warning,portability --inline-suppr --suppress=ctuuninitvar --library=tools/lint.cfg \
	  --error-exitcode=1 -D_GNU_SOURCE c bench
	for f in c/*.c; do $(CC) $(filter-out -M%,$(CFLAGS)) -DNSLUA_VERSION='""' -Werror -fsyntax-only $$f || exit 1; done
	printf '%s\n' c/*.c | xargs -P $$(nproc) -I {} clang-tidy --quiet {} -- -include tools/lint.h $(filter-out -M% -O% -g,$(CFLAGS)) -DNSLUA_VERSION='""'

# Floors 0 and 1 are for other programs' Lua too: the specs that are written in Lua 5.1 run under all of them.
PORTABILITY = lua5.1 luajit lua5.2 lua5.3 lua5.4
portability: $(PORTABILITY:%=portability-%)
portability-%:
	$(MAKE) $(JOBS) module BUILD=$(BUILD)/$* LUAPC=$*
	$(RUN_SPECS) --rounds few --lua $* --build $(BUILD)/$* --label "$*: " $$($(LUA) tools/portable.lua)

# The specs in a program that is built with the sanitizers of gcc.
SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
sanitize:
	$(MAKE) $(JOBS) all BUILD=$(BUILD)/sanitize HEAP=no CFLAGS='-O1 -g $(SANITIZE)' LDFLAGS='$(SANITIZE)'
	ASAN_OPTIONS=quarantine_size_mb=1 $(RUN_SPECS) --rounds few --lua $(BUILD)/sanitize/bin/nslua --build $(BUILD)/sanitize --label "sanitize: " $$(tools/test --files sanitize)

valgrind: all
	$(RUN_SPECS) --rounds few --wrap "valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite \
	  --child-silent-after-fork=yes" --label "valgrind: " $$(tools/test --files valgrind)

$(BUILD)/bench/floor: $(wildcard bench/floor/*.c bench/floor/*.h)
	@mkdir -p $(@D)
	$(CC) $(filter-out -M%,$(CFLAGS)) -o $@ $(filter %.c,$^) -lmnl

# For each fault of labs what the doctor names first, and whether its own command mends it.
doctor-table: $(BUILD)/bin/nslua
	LUA_PATH='./?.lua;;' $(BUILD)/bin/nslua tools/doctor-table.lua

doc: $(BUILD)/bin/nslua
	$(LUA) tools/apidoc.lua doc/api.md
	$(BUILD)/bin/nslua tools/manpage.lua > doc/nslua.1

# What Debian's golang-github-vishvananda-netlink-dev brings; it is built against where both are, and its rows are skipped elsewhere.
GOCODE = /usr/share/gocode
$(BUILD)/bench/routes-go: bench/peers/routes.go
	@mkdir -p $(@D)
	GOPATH=$(GOCODE) GO111MODULE=off go build -o $@ $<
bench-go:
	@if command -v go >/dev/null && [ -d $(GOCODE)/src/github.com/vishvananda/netlink ]; then $(MAKE) --no-print-directory $(BUILD)/bench/routes-go; \
	  else echo "bench/peers/routes.go: skipped, Go or its netlink library is not installed" >&2; fi

bench: all $(BUILD)/bench/floor bench-go
	$(BUILD)/bin/nslua bench/run.lua $(BENCH)

# A fixed budget: the same inputs on every run. Every find is a failure; the input stays in build/fuzz.
FUZZ_RUNS = 100000
FUZZ_CFLAGS = -O1 -g -std=gnu11 -D_GNU_SOURCE -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
$(BUILD)/fuzz/codec: fuzz/codec.c $(filter-out $(HOST:%=c/%.c),$(wildcard c/*.c)) $(wildcard c/*.h)
	@mkdir -p $(@D)
	clang $(FUZZ_CFLAGS) $(shell $(PKG_CONFIG) --cflags $(LUAPC) libmnl) -o $@ $(filter %.c,$^) $(LIBLUA) $(MNL) -lm -ldl
$(BUILD)/fuzz/json: fuzz/json.c c/jsonread.c $(wildcard c/*.h)
	@mkdir -p $(@D)
	clang $(FUZZ_CFLAGS) $(shell $(PKG_CONFIG) --cflags $(LUAPC)) -o $@ $(filter %.c,$^) $(LIBLUA) -lm -ldl
fuzz: $(BUILD)/fuzz/codec $(BUILD)/fuzz/json module
	for each in codec json; do \
	  rm -rf $(BUILD)/fuzz/corpus && mkdir $(BUILD)/fuzz/corpus && LUA_CPATH='$(BUILD)/?.so' $(LUA) fuzz/$$each.lua $(BUILD)/fuzz/corpus && \
	  $(BUILD)/fuzz/$$each $(BUILD)/fuzz/corpus -seed=1 -runs=$(FUZZ_RUNS) -max_len=1024 -timeout=20 -verbosity=0 \
	    -artifact_prefix=$(BUILD)/fuzz/ || exit 1; \
	done

clean:
	rm -rf $(BUILD)

# What ns.why predicts, against what the kernel does, in hundreds of random labs: LABS=500 FROM=1.
LABS ?= 500
FROM ?= 1
why-random: $(BUILD)/bin/nslua
	NSLUA_WHY_LABS=$(LABS) NSLUA_WHY_FROM=$(FROM) $(LUA) tools/spec.lua spec/why_spec.lua

.PHONY: all module install demo doctor-table why-random test test-vm lint portability sanitize valgrind fuzz bench bench-go doc clean
-include $(wildcard $(BUILD)/*.d)
