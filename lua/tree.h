/* Copies of files and trees between host and guest (spec 7.5). Internal to this layer; methods made
 * by pv_lua_principal_setfuncs. */
#ifndef PV_LUA_TREE_H
#define PV_LUA_TREE_H

#include <lua.h>

int pv_lua_tree_push_file(lua_State *L);
int pv_lua_tree_push_dir(lua_State *L);
int pv_lua_tree_pull_file(lua_State *L);
int pv_lua_tree_pull_dir(lua_State *L);

#endif
