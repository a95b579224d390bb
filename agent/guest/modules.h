/*
 * Kernel modules that the guest needs before it can serve.
 */
#ifndef PV_AGENT_GUEST_MODULES_H
#define PV_AGENT_GUEST_MODULES_H

/* What the connection needs, and what is to be there before the first request is served. */
#define PV_MODULES_LIST	      "/etc/provium/modules"
#define PV_MODULES_LATER_LIST "/etc/provium/modules.later"

/*
 * Loads the modules that `list` names: one absolute path a line, module parameters may follow it,
 * `#` begins a comment. Goes on after a failure, with one line on the console; a module that is
 * there already is none. A missing list is an empty one.
 */
void pv_modules_load(const char *list);

#endif
