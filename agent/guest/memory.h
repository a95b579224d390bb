/*
 * Reading and writing memory of this process at addresses that may be wrong.
 */
#ifndef PV_AGENT_GUEST_MEMORY_H
#define PV_AGENT_GUEST_MEMORY_H

#include <stddef.h>
#include <stdint.h>

/*
 * Copy `len` bytes between good memory and `addr`, whatever is there: nothing, a device, a page
 * that may not be written. Return 0, or -EFAULT when some of it cannot be reached (a part may have
 * been copied), or another -errno. Any thread.
 */
int pv_memory_read(uint64_t addr, void *out, size_t len);
int pv_memory_write(uint64_t addr, const void *data, size_t len);

#endif
