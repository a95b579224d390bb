/*
 * Files that are held open in the guest, by number. Called as the other operations of
 * agent/host/client.h. The number is the agent's: it is known to the principal that opened it, in
 * that life of its agent only, so `boot` of the principal must say which (pv_agent_boot); later the
 * operation is -ESTALE. Errors have no word about the file: the caller knows what it is to people.
 */
#ifndef PV_AGENT_HOST_OPEN_FILE_H
#define PV_AGENT_HOST_OPEN_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/host/client.h"

struct pv_agent_open {
	bool read;
	bool write;
	bool create;
	bool truncate;
	bool append; /* writes, at the end */
	bool exclusive;
	unsigned perm; /* of a new file, at most 07777, whatever the umask */
};

/* Gives the number, at least 1, and the life of the agent that knows it. */
int pv_agent_open_file(const struct pv_principal *by, const char *path,
    const struct pv_agent_open *how, int64_t *handle, uint64_t *boot, struct pv_err *err);

/* Appends at most `size` bytes, or all up to the end when it is -1; nothing at the end. From what
 * is no regular file it waits for something and gives what there is. */
int pv_agent_handle_read(const struct pv_principal *by, int64_t handle, int64_t size,
    struct pv_bytes *out, struct pv_err *err);

/* Writes all of `data`, of any size. */
int pv_agent_handle_write(const struct pv_principal *by, int64_t handle, const void *data,
    size_t len, struct pv_err *err);

/* As lseek(2). */
enum pv_agent_whence { PV_AGENT_SEEK_SET, PV_AGENT_SEEK_CUR, PV_AGENT_SEEK_END };
int pv_agent_handle_seek(const struct pv_principal *by, int64_t handle, int64_t offset,
    enum pv_agent_whence whence, int64_t *at, struct pv_err *err);

int pv_agent_handle_close(const struct pv_principal *by, int64_t handle, struct pv_err *err);

#endif
