/* Creation and boot options from a Lua table (spec 7.2). Internal to this layer. */
#ifndef PV_LUA_OPTIONS_H
#define PV_LUA_OPTIONS_H

#include <lua.h>

#include "lab/options.h"

/* Pushes a userdata that owns empty options, and returns them. `pv_options_finish` may free them
 * early. May raise. */
struct pv_options *pv_lua_options_new(lua_State *L);

/* Reads the table at `index`; unknown keys are ignored. Raises "<function>: opts.<key> ..." for a
 * wrong value. */
void pv_lua_options_read(lua_State *L, int index, const char *function, struct pv_options *options);

#endif
