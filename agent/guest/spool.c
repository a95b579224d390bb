/*
 * Output goes from the pipe to a memfd at once, whoever reads it and however slowly, so a program
 * never waits for a test that looks elsewhere, and the agent itself does not grow: the pages belong
 * to the file, can be swapped, and are gone with the last reference. A kernel without memfd_create
 * has a nameless file in /tmp instead. The file is made with the first byte.
 *
 * Readers share the descriptor by pread(2). When bytes come, each is told; what it sends is limited
 * by its own allowance and by the queue to the host, and goes on with the next grant or room.
 */
#include "agent/guest/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent/guest/call.h"
#include "base/fd.h"

#define PIECE (64u << 10)

struct pv_spool *pv_spool_create(void)
{
	struct pv_spool *spool = calloc(1, sizeof(*spool));
	if (spool)
		*spool = (struct pv_spool){.references = 1, .fd = -1};
	return spool;
}

struct pv_spool *pv_spool_ref(struct pv_spool *spool)
{
	spool->references++;
	return spool;
}

void pv_spool_unref(struct pv_spool *spool)
{
	if (!spool || --spool->references > 0)
		return;
	pv_fd_close(&spool->fd);
	free(spool);
}

static int make_file(struct pv_spool *spool)
{
	spool->fd = memfd_create("provium-output", MFD_CLOEXEC);
	if (spool->fd < 0)
		spool->fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	return spool->fd < 0 ? -errno : 0;
}

static void tell(struct pv_spool *spool)
{
	pv_spool_ref(spool);
	for (struct pv_spool_reader *reader = spool->first, *next; reader; reader = next) {
		next = reader->next;
		reader->moved(reader);
	}
	pv_spool_unref(spool);
}

int pv_spool_append(struct pv_spool *spool, const void *data, size_t len)
{
	int status = spool->fd < 0 && len > 0 ? make_file(spool) : 0;
	for (size_t done = 0; status == 0 && done < len;) {
		ssize_t put =
		    pwrite(spool->fd, (const char *)data + done, len - done, (off_t)spool->size);
		if (put < 0 && errno != EINTR)
			status = -errno;
		if (put <= 0)
			continue;
		done += (size_t)put;
		spool->size += (uint64_t)put;
	}
	if (len > 0)
		tell(spool);
	return status;
}

void pv_spool_end(struct pv_spool *spool, int error)
{
	if (spool->ended)
		return;
	spool->ended = true;
	spool->error = error;
	tell(spool);
}

void pv_spool_reader_begin(struct pv_spool_reader *reader, struct pv_spool *spool)
{
	reader->spool = pv_spool_ref(spool);
	reader->next = spool->first;
	spool->first = reader;
}

void pv_spool_reader_end(struct pv_spool_reader *reader)
{
	if (!reader->spool)
		return;
	struct pv_spool_reader **at = &reader->spool->first;
	while (*at != reader)
		at = &(*at)->next;
	*at = reader->next;
	pv_spool_unref(reader->spool);
	reader->spool = NULL;
}

bool pv_spool_reader_send(struct pv_spool_reader *reader)
{
	struct pv_spool *spool = reader->spool;
	uint8_t piece[PIECE];
	while (reader->offset < spool->size && reader->allowance > 0 &&
	       pv_call_has_room(reader->call)) {
		size_t len = sizeof(piece);
		if (len > reader->allowance)
			len = (size_t)reader->allowance;
		ssize_t got = pread(spool->fd, piece, len, (off_t)reader->offset);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			/* What was there cannot be read again: there is no more for anybody. */
			spool->error = got < 0 ? errno : EIO;
			spool->ended = true;
			spool->size = reader->offset;
			break;
		}
		pv_call_data(reader->call, reader->channel, piece, (size_t)got);
		pv_call_flush(reader->call);
		reader->offset += (uint64_t)got;
		if (reader->allowance != PV_SPOOL_NO_LIMIT)
			reader->allowance -= (uint64_t)got;
	}
	return spool->ended && reader->offset >= spool->size;
}
