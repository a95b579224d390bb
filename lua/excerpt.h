/* What the guests of a failed test last said. Internal to this layer. */
#ifndef PV_LUA_EXCERPT_H
#define PV_LUA_EXCERPT_H

struct pv_bytes;
struct pv_lua;

/*
 * Appends, for each VM of the test's lab and of the file's lab that was ever booted, "---- vm NAME
 * (last N bytes) ----" and the last 4096 bytes of its console, as valid UTF-8. Returns 0 or
 * -ENOMEM.
 */
int pv_lua_excerpt_write(struct pv_lua *lua, struct pv_bytes *out);

#endif
