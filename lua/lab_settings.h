/*
 * The settings of a file, which are read and assigned as fields of its lab. Internal to this layer.
 */
#ifndef PV_LUA_LAB_SETTINGS_H
#define PV_LUA_LAB_SETTINGS_H

#include <lua.h>
#include <stdbool.h>

/* Pushes the value of the setting `key` and returns true; false, and nothing pushed, when there is
 * no setting of that name. May raise. */
bool pv_lua_lab_settings_push(lua_State *L, const char *key);

/* The assignment of a __newindex call: lab at 1, key at 2, value at 3. `in_test`: the lab is not
 * the file's, and then it is refused. Raises when the value is wrong. */
void pv_lua_lab_settings_set(lua_State *L, bool in_test);

#endif
