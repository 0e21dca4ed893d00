# nslua: `make` builds build/nslua/core.so and build/bin/nslua.
# A packager may set: CC CFLAGS LDFLAGS PREFIX DESTDIR LUA LUAPC PKG_CONFIG BUILD
LUA        ?= lua5.4
LUAPC      ?= lua5.4
PKG_CONFIG ?= pkg-config
PREFIX     ?= /usr/local
DESTDIR    ?=
BUILD      ?= build

CFLAGS  ?= -O2 -g
WARN     = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes
override CFLAGS += -std=gnu11 -D_GNU_SOURCE -fPIC -fvisibility=hidden $(WARN) -MMD -MP \
                   $(shell $(PKG_CONFIG) --cflags $(LUAPC) libmnl)
MNL      = $(shell $(PKG_CONFIG) --libs libmnl)

# c/nslua.c is the host's main; everything else is the module.
CORE_OBJ = $(patsubst c/%.c,$(BUILD)/%.o,$(filter-out c/nslua.c,$(wildcard c/*.c)))

all: $(BUILD)/nslua/core.so

$(BUILD)/%.o: c/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -c -o $@ $<
$(BUILD)/nslua/core.so: $(CORE_OBJ)
	@mkdir -p $(@D)
	$(CC) -shared $(LDFLAGS) -o $@ $^ $(MNL)
clean:
	rm -rf $(BUILD)
.PHONY: all clean
-include $(wildcard $(BUILD)/*.d)
