/* The type ConsoleStream of the test language (spec section 13). Internal to this layer. */
#ifndef PV_LUA_CONSOLE_STREAM_H
#define PV_LUA_CONSOLE_STREAM_H

#include <lua.h>

struct pv_vm;

/* Registers the type. May raise. */
void pv_lua_console_stream_open(lua_State *L);

/* Pushes a stream of what the consoles of the VM print from now on. May raise. */
void pv_lua_console_stream_push(lua_State *L, struct pv_vm *vm);

#endif
