/* The type File of the test language (spec section 12). Internal to this layer. */
#ifndef PV_LUA_FILE_H
#define PV_LUA_FILE_H

#include <lua.h>
#include <stdint.h>

#include "lab/vm.h"

#define PV_LUA_FILE_TYPE "File"

/* Registers the type, with its own methods and those in the table on top, which is popped. May
 * raise. */
void pv_lua_file_open(lua_State *L);

/* vm:open_file and worker:open_file, as a method made by pv_lua_principal_setfuncs. */
int pv_lua_file_open_file(lua_State *L);

/* An open file as other types see it. */
struct pv_lua_file_view {
	struct pv_vm *vm;
	struct pv_principal by; /* with the life of the agent that knows the handle */
	int64_t handle;
	const char *path;
};

/* True when the value at `index` is a File. */
bool pv_lua_file_is(lua_State *L, int index);

/* The File at `index`, which is one; raises "<function>: file is closed", or the state's sentence
 * when the guest cannot be reached for `action`. Valid while the value is and stays open. */
void pv_lua_file_view(lua_State *L, int index, const char *function, const char *action,
    struct pv_lua_file_view *out);

#endif
