/*
 * Kernel modules that the guest needs before it can serve.
 */
#ifndef PV_AGENT_GUEST_MODULES_H
#define PV_AGENT_GUEST_MODULES_H

#define PV_MODULES_LIST "/etc/provium/modules"

/*
 * Loads the modules that `list` names: one absolute path a line, module parameters may follow it,
 * `#` begins a comment. Goes on after a failure, with one line on the console; a module that is
 * there already is none. A missing list is an empty one.
 */
void pv_modules_load(const char *list);

#endif
