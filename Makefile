# nslua: `make` builds build/nslua/core.so and build/bin/nslua; both can be used from the checkout.
# A packager may set: CC CFLAGS LDFLAGS PREFIX DESTDIR LUA LUAPC PKG_CONFIG OBJCOPY BUILD
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

CFLAGS  ?= -O2 -g
WARN     = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes
override CFLAGS += -std=gnu11 -D_GNU_SOURCE -fPIC -fvisibility=hidden $(WARN) -MMD -MP \
                   $(shell $(PKG_CONFIG) --cflags $(LUAPC) libmnl)
MNL      = $(shell $(PKG_CONFIG) --libs libmnl)
LIBLUA  ?= $(shell $(PKG_CONFIG) --variable=libdir lua5.4)/liblua5.4.a
VERSION  = $(shell sed -n 's/.*_VERSION = "nslua \(.*\)".*/\1/p' lua/nslua/init.lua)

# These are the host; everything else in c/ is the module.
HOST     = nslua interrupt embed
HOST_OBJ = $(patsubst %,$(BUILD)/%.o,$(HOST) files)
CORE_OBJ = $(patsubst c/%.c,$(BUILD)/%.o,$(filter-out $(HOST:%=c/%.c),$(wildcard c/*.c)))
LUA_SRC  = $(shell find lua -name '*.lua')

all: $(BUILD)/nslua/core.so $(BUILD)/bin/nslua

module: $(BUILD)/nslua/core.so

$(BUILD)/%.o: c/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -c -o $@ $<
$(BUILD)/nslua/core.so: $(CORE_OBJ)
	@mkdir -p $(@D)
	$(CC) -shared $(LDFLAGS) -o $@ $^ $(MNL)

$(BUILD)/nslua.o: override CFLAGS += -DNSLUA_VERSION='"$(VERSION)"'
$(BUILD)/nslua.o: lua/nslua/init.lua
$(BUILD)/files.c: tools/embed.lua $(LUA_SRC) lua/nslua
	@mkdir -p $(@D)
	$(LUA) tools/embed.lua lua $(LUA_SRC) > $@.tmp
	mv $@.tmp $@
$(BUILD)/files.o: $(BUILD)/files.c
	$(CC) $(CFLAGS) -Ic -c -o $@ $<

# Three functions of Lua get another name, so that interrupt.c can stand before them.
$(BUILD)/lua.o: $(LIBLUA)
	@mkdir -p $(BUILD)/lua
	cd $(BUILD)/lua && ar x $(LIBLUA) ldo.o lstate.o lapi.o
	$(LD) -r -o $@ $(BUILD)/lua/ldo.o $(BUILD)/lua/lstate.o $(BUILD)/lua/lapi.o
	$(OBJCOPY) --redefine-sym lua_resume=nslua_lua_resume --redefine-sym lua_pcallk=nslua_lua_pcallk \
	  --redefine-sym lua_resetthread=nslua_lua_resetthread --redefine-sym lua_closethread=nslua_lua_closethread $@

# Lua is linked in whole and exported, so that C modules can be required.
$(BUILD)/bin/nslua: $(HOST_OBJ) $(CORE_OBJ) $(BUILD)/lua.o
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -Wl,-E -o $@ $^ $(LIBLUA) $(MNL) -lm -ldl

install: all
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(LUADIR) $(DESTDIR)$(LUACDIR)/nslua $(DESTDIR)$(DOCDIR)
	install -m 755 $(BUILD)/bin/nslua $(DESTDIR)$(BINDIR)
	install -m 644 $(BUILD)/nslua/core.so $(DESTDIR)$(LUACDIR)/nslua
	cd lua && find nslua -name '*.lua' -exec install -D -m 644 {} $(abspath $(DESTDIR)$(LUADIR))/{} \;
	install -m 644 LICENSE $(DESTDIR)$(DOCDIR)

clean:
	rm -rf $(BUILD)
.PHONY: all module install clean
-include $(wildcard $(BUILD)/*.d)
