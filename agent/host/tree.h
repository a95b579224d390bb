/*
 * Files and whole trees between host and guest, with permissions, symbolic links and holes, in
 * constant memory on both sides. Called as the other operations of agent/host/client.h. Devices and
 * sockets are left out.
 */
#ifndef PV_AGENT_HOST_TREE_H
#define PV_AGENT_HOST_TREE_H

#include <stdbool.h>

#include "agent/host/client.h"

/*
 * Copies `host` to `guest`: a directory with all that is in it, added to what is there, or a file.
 * A new file or directory gets the permissions of the one that it is copied from. An error on this
 * side reads "read `PATH` failed: ..." and is of kind PV_ERR_INPUT; one of the guest begins with
 * "push `GUEST`".
 */
int pv_agent_push(const struct pv_principal *by, const char *host, const char *guest,
    bool is_directory, struct pv_err *err);

/*
 * The other way. The guest is hostile: nothing outside of `host` is written, whatever it sends, and
 * set-user-ID bits are not taken over. What came before an error stays. Errors as above: "write
 * `PATH` failed: ...", "pull `GUEST`: ...".
 */
int pv_agent_pull(const struct pv_principal *by, const char *guest, const char *host,
    bool is_directory, struct pv_err *err);

#endif
