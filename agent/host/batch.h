/*
 * Operations in a row: all are sent at once, the guest's agent does one after another, and one that
 * fails does not keep the next from being done. Called as the operations of agent/host/client.h.
 */
#ifndef PV_AGENT_HOST_BATCH_H
#define PV_AGENT_HOST_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/host/client.h"
#include "agent/host/syscall.h"

enum pv_agent_item_kind {
	PV_AGENT_ITEM_EXEC,
	PV_AGENT_ITEM_READ_FILE,
	PV_AGENT_ITEM_WRITE_FILE,
	PV_AGENT_ITEM_STAT,
	PV_AGENT_ITEM_LIST,
	PV_AGENT_ITEM_MKDIR,
	PV_AGENT_ITEM_UNLINK,
	PV_AGENT_ITEM_RENAME,
	PV_AGENT_ITEM_SYSCALL,
};

/* The number of a system call and its arguments. */
#define PV_AGENT_ITEM_WORDS 7

/* One operation: what is asked, which the caller keeps until pv_agent_batch returns, and then what
 * came of it. */
struct pv_agent_item {
	enum pv_agent_item_kind kind;
	struct pv_agent_exec exec;
	const char *path;
	const char *to;	  /* rename */
	const void *data; /* write_file; files are made with 0644 */
	size_t len;
	bool parents; /* mkdir */
	unsigned perm;
	int64_t words[PV_AGENT_ITEM_WORDS];

	char *error; /* the sentence when it failed, and then nothing below holds; or NULL */
	struct pv_agent_exec_result exec_result;
	struct pv_bytes out; /* read_file: the content; list: for pv_agent_list_next */
	struct pv_agent_stat stat;
	struct pv_agent_syscall_result syscall_result;
};

/* Does them. Returns 0 when each has its `error` or its result; -errno when there was no way to ask
 * at all. Release the items in both cases. */
int pv_agent_batch(
    const struct pv_principal *by, struct pv_agent_item *items, size_t count, struct pv_err *err);

/* Frees what came of an item. Idempotent. */
void pv_agent_item_release(struct pv_agent_item *item);

#endif
