/*
 * Files that the host holds open by number. Everything here needs the loop lock.
 */
#ifndef PV_AGENT_GUEST_OPEN_FILE_H
#define PV_AGENT_GUEST_OPEN_FILE_H

#include <stdint.h>

struct pv_open_file {
	struct pv_open_file *next;
	int64_t number;
	int fd;
	unsigned references;
};

/* Zeroed: none. */
struct pv_open_files {
	struct pv_open_file *first;
	int64_t last; /* number given */
};

/* Takes `fd` over. Returns the file, or NULL when out of memory, and `fd` is the caller's. */
struct pv_open_file *pv_open_file_add(struct pv_open_files *files, int fd);

/* The file of that number, NULL when there is none (any more). It stays for as long as the lock is
 * held, or by pv_open_file_ref. */
struct pv_open_file *pv_open_file_find(struct pv_open_files *files, int64_t number);

struct pv_open_file *pv_open_file_ref(struct pv_open_file *file);
/* Returns a descriptor that the caller is to close, better without the lock because that may block,
 * or -1 when somebody uses the file still. NULL is fine. */
int pv_open_file_unref(struct pv_open_file *file);

/* Takes the file of that number out; the caller has the reference that the number had. NULL: there
 * is none. */
struct pv_open_file *pv_open_file_take(struct pv_open_files *files, int64_t number);

/* Forgets all numbers. */
void pv_open_files_close(struct pv_open_files *files);

#endif
