/*
 * The older spelling of the language (docs/legacy.md): lua/legacy.lua, which is part of the
 * program, and here what it needs of the C side. The text is run once in each state and returns
 * functions, which the types take over as methods when they are opened.
 *
 * In a file of the older kind tests ran where they stood, and the file closed its VMs itself
 * afterwards. Such a file is known by how it gets its VMs: `provium.create` or `provium.fixture`.
 * Script thread only.
 */
#include "lua/legacy.h"

#include <lauxlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lab/lab.h"
#include "lab/vm.h"
#include "lua/argument.h"
#include "lua/lab.h"
#include "lua/state.h"
#include "lua/syscall.h"
#include "lua/vm.h"

/* Registry: what lua/legacy.lua returned. */
#define PARTS_KEY "provium.legacy"

/* Positions in its errors begin so; it takes them off. */
#define CHUNK_NAME "=legacy.lua"

/* The text, PV_LEGACY_LUA being its path. */
extern const char pv_legacy_text[], pv_legacy_text_end[];
__asm__(".pushsection .rodata\n"
	".hidden pv_legacy_text\n.hidden pv_legacy_text_end\n"
	".globl pv_legacy_text\n.globl pv_legacy_text_end\n"
	"pv_legacy_text:\n.incbin \"" PV_LEGACY_LUA "\"\n"
	"pv_legacy_text_end:\n.byte 0\n"
	".popsection\n");

/* --- what the text gets --- */

/* native.kind(value): as sentences call it. */
static int kind(lua_State *L)
{
	lua_pushstring(L, pv_lua_argument_type(L, 1));
	return 1;
}

/* native.check_name(value, function, what): lua/argument.h */
static int check_name(lua_State *L)
{
	pv_lua_argument_name(L, 1, lua_tostring(L, 2), lua_tostring(L, 3));
	return 0;
}

static int check_text(lua_State *L)
{
	pv_lua_argument_text(L, 1, lua_tostring(L, 2), lua_tostring(L, 3));
	return 0;
}

/* native.check_call(nr, function): lua/syscall.h */
static int check_call(lua_State *L)
{
	pv_lua_syscall_number(L, 1, lua_tostring(L, 2));
	return 0;
}

/* native.begin(): this file is of the older kind. */
static int begin(lua_State *L)
{
	pv_lua_state_of(L)->is_legacy = true;
	return 0;
}

/* native.scope(): the lab of the present scope. */
static int scope(lua_State *L)
{
	if (pv_lua_state_of(L)->root_lab == NULL)
		return luaL_error(L, "this lab is closed, its file is over");
	pv_lua_lab_push_scope(L);
	return 1;
}

static void append_made(lua_State *L, const struct pv_lab *lab)
{
	for (size_t i = 0; lab != NULL && i < pv_lab_made_count(lab); i++) {
		pv_lua_vm_push(L, pv_lab_made_at(lab, i));
		lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
	}
}

/* native.made(): all VMs of the file and of the test that runs. */
static int made(lua_State *L)
{
	const struct pv_lua *lua = pv_lua_state_of(L);
	lua_newtable(L);
	append_made(L, lua->root_lab);
	append_made(L, lua->test_lab);
	return 1;
}

static const luaL_Reg native[] = {
    {"kind",	     kind	 },
    {"check_name", check_name},
    {"check_text", check_text},
    {"check_call", check_call},
    {"begin",      begin	   },
    {"scope",      scope	   },
    {"made",	     made	 },
    {NULL,	   NULL      },
};

/* --- where it goes --- */

/* Copies the fields of the table at -1 into the one below, and pops it. */
static void copy_fields(lua_State *L)
{
	lua_pushnil(L);
	while (lua_next(L, -2) != 0) {
		lua_pushvalue(L, -2);
		lua_insert(L, -2);
		lua_rawset(L, -5);
	}
	lua_pop(L, 1);
}

void pv_lua_legacy_add(lua_State *L, const char *part)
{
	lua_getfield(L, LUA_REGISTRYINDEX, PARTS_KEY);
	lua_getfield(L, -1, part);
	lua_remove(L, -2);
	copy_fields(L);
}

void pv_lua_legacy_open(lua_State *L)
{
	size_t len = (size_t)(pv_legacy_text_end - pv_legacy_text);
	if (luaL_loadbufferx(L, pv_legacy_text, len, CHUNK_NAME, "t") != LUA_OK)
		lua_error(L);
	luaL_newlib(L, native);
	lua_call(L, 1, 1);
	lua_setfield(L, LUA_REGISTRYINDEX, PARTS_KEY);
	lua_pushglobaltable(L);
	pv_lua_legacy_add(L, "global");
	lua_pop(L, 1);
}

bool pv_lua_legacy_runs_now(lua_State *L)
{
	lua_Debug activation;
	const struct pv_lua *lua = pv_lua_state_of(L);
	/* In a coroutine it cannot: the body is called on the state's own stack. */
	if (!lua->is_legacy || L != lua->L || lua_iscfunction(L, -1))
		return false;
	lua_pushvalue(L, -1);
	return lua_getinfo(L, ">u", &activation) != 0 && activation.nparams == 0 &&
	       !activation.isvararg;
}
