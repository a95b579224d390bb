/*
 * A list: a test has a handful of files open. Numbers are never given twice, so a late request
 * cannot meet the wrong file. A file is closed when its number is gone and no operation uses it any
 * more, because a descriptor that is closed under a read may be another file's by then.
 */
#include "agent/guest/open_file.h"

#include <stdlib.h>

#include "base/fd.h"

struct pv_open_file *pv_open_file_add(struct pv_open_files *files, int fd)
{
	struct pv_open_file *file = calloc(1, sizeof(*file));
	if (!file)
		return NULL;
	*file = (struct pv_open_file){
	    .next = files->first,
	    .number = ++files->last,
	    .fd = fd,
	    .references = 1,
	};
	files->first = file;
	return file;
}

struct pv_open_file *pv_open_file_find(struct pv_open_files *files, int64_t number)
{
	struct pv_open_file *file = files->first;
	while (file && file->number != number)
		file = file->next;
	return file;
}

struct pv_open_file *pv_open_file_ref(struct pv_open_file *file)
{
	file->references++;
	return file;
}

int pv_open_file_unref(struct pv_open_file *file)
{
	if (!file || --file->references > 0)
		return -1;
	int fd = file->fd;
	free(file);
	return fd;
}

struct pv_open_file *pv_open_file_take(struct pv_open_files *files, int64_t number)
{
	struct pv_open_file **at = &files->first;
	while (*at && (*at)->number != number)
		at = &(*at)->next;
	struct pv_open_file *file = *at;
	if (file)
		*at = file->next;
	return file;
}

void pv_open_files_close(struct pv_open_files *files)
{
	struct pv_open_file *file;
	while ((file = files->first)) {
		files->first = file->next;
		int fd = pv_open_file_unref(file);
		pv_fd_close(&fd);
	}
}
