/* Fixtures in the test language (spec section 5.7; the older spelling, 22). Internal to this layer.
 */
#ifndef PV_LUA_FIXTURE_H
#define PV_LUA_FIXTURE_H

#include <lauxlib.h>

/* vm_fixture, lab_fixture and fixture of a lab, for its table of methods; they work with a dot,
 * too. */
extern const luaL_Reg pv_lua_fixture_methods[];

#endif
