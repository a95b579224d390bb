/*
 * Names in the guest: lists of directories, making, removing and renaming. Called as the other
 * operations of agent/host/client.h, and with errors like theirs.
 */
#ifndef PV_AGENT_HOST_PATH_H
#define PV_AGENT_HOST_PATH_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/host/client.h"

/* Appends the entries of a directory to `out`, without `.` and `..`, in no order; for
 * pv_agent_list_next. The names are any bytes but `/` and NUL. */
int pv_agent_list(
    const struct pv_principal *by, const char *path, struct pv_bytes *out, struct pv_err *err);

/* Whether all of it is whole entries with proper names. Pure. */
bool pv_agent_list_is_whole(const struct pv_bytes *list);

/* The entry at `*at` (0 at first), which moves on. `name` points into `list`. False at the end. */
bool pv_agent_list_next(
    const struct pv_bytes *list, size_t *at, const char **name, enum pv_agent_entry_type *type);

/* `perm` at most 07777, whatever the umask. With `parents` missing ones are made (0755) and a
 * directory that is there is fine. */
int pv_agent_mkdir(const struct pv_principal *by, const char *path, bool parents, unsigned perm,
    struct pv_err *err);

/* Removes a file or an empty directory. */
int pv_agent_unlink(const struct pv_principal *by, const char *path, struct pv_err *err);

/* rename(2): replaces what is there. */
int pv_agent_rename(
    const struct pv_principal *by, const char *from, const char *to, struct pv_err *err);

#endif
