/*
 * Building a tree from bytes that may be hostile. A record's head is collected until it is whole,
 * then checked and acted on; the data of parts goes straight to the file. The builder keeps a
 * descriptor for each directory that it is in and names entries relative to the innermost one, so
 * that a name, which has no slash, cannot lead elsewhere; directories are entered without following
 * links, files and links are made anew and never opened when they exist. Directories get their
 * permissions when they end, because one without the write bit could not be filled. Any thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/proto/tree.h"
#include "base/bytes.h"
#include "base/fd.h"

/* The longest head: a link with its target. */
#define HEAD_MAX (1 + 2 + NAME_MAX + 2 + PATH_MAX)

struct pv_tree_build {
	char *root;
	bool is_directory;
	bool begun;
	mode_t mask;
	int depth; /* directories that are open */
	int folders[PV_TREE_DEPTH_MAX + 1];
	mode_t modes[PV_TREE_DEPTH_MAX + 1];
	int file; /* -1: not in a file */
	mode_t file_mode;
	bool file_is_new;
	uint64_t file_size;
	uint64_t offset; /* of the part whose data comes */
	uint32_t left;	 /* of that data */
	uint8_t head[HEAD_MAX];
	size_t have; /* of the head */
	char where[PV_TREE_WHERE_MAX];
};

/* A head that is whole. */
struct record {
	char kind;
	mode_t mode;
	uint64_t size; /* or offset */
	uint32_t len;  /* of a part */
	char name[NAME_MAX + 1];
	char target[PATH_MAX];
};

struct pv_tree_build *pv_tree_build_create(const char *root, bool is_directory, mode_t mask)
{
	struct pv_tree_build *build = calloc(1, sizeof(*build));
	if (!build)
		return NULL;
	build->root = strdup(root);
	build->is_directory = is_directory;
	build->mask = mask;
	build->file = -1;
	if (build->root)
		return build;
	free(build);
	return NULL;
}

void pv_tree_build_destroy(struct pv_tree_build *build)
{
	if (!build)
		return;
	pv_fd_close(&build->file);
	while (build->depth > 0)
		close(build->folders[--build->depth]);
	free(build->root);
	free(build);
}

const char *pv_tree_build_where(const struct pv_tree_build *build)
{
	return build->where;
}

static bool is_in_file(const struct pv_tree_build *build)
{
	return build->file >= 0;
}

static bool is_whole(const struct pv_tree_build *build)
{
	return build->begun && build->depth == 0 && !is_in_file(build);
}

int pv_tree_build_end(const struct pv_tree_build *build)
{
	return is_whole(build) && build->have == 0 ? 0 : -EBADMSG;
}

/* --- heads --- */

/* Reads a text of at most `max` bytes at `*at`. Returns 1, 0 when it is not whole, -EBADMSG. */
static int read_text(const struct pv_tree_build *build, size_t *at, char *out, size_t max)
{
	if (build->have < *at + 2)
		return 0;
	size_t len = pv_le16(build->head + *at);
	if (len > max)
		return -EBADMSG;
	if (build->have < *at + 2 + len)
		return 0;
	if (memchr(build->head + *at + 2, '\0', len))
		return -EBADMSG;
	memcpy(out, build->head + *at + 2, len);
	out[len] = '\0';
	*at += 2 + len;
	return 1;
}

static int read_number(const struct pv_tree_build *build, size_t *at, size_t size, uint64_t *out)
{
	if (build->have < *at + size)
		return 0;
	*out = size == 4 ? pv_le32(build->head + *at) : pv_le64(build->head + *at);
	*at += size;
	return 1;
}

/* Takes the head apart. Returns its length, 0 when it is not whole, or -EBADMSG. */
static int read_record(const struct pv_tree_build *build, struct record *record)
{
	uint64_t mode = 0, len = 0;
	size_t at = 1;
	int status = 1;
	record->kind = (char)build->head[0];
	switch (record->kind) {
	case 'u':
	case 'e': return 1;
	case 'x':
		status = read_number(build, &at, 8, &record->size);
		if (status > 0)
			status = read_number(build, &at, 4, &len);
		record->len = (uint32_t)len;
		return status > 0 ? (int)at : status;
	case 'd':
	case 'p':
	case 'f':
		status = read_number(build, &at, 4, &mode);
		if (status > 0 && record->kind == 'f')
			status = read_number(build, &at, 8, &record->size);
		break;
	case 'l': break;
	default: return -EBADMSG;
	}
	record->mode = (mode_t)mode & build->mask & 07777;
	if (status > 0)
		status = read_text(build, &at, record->name, NAME_MAX);
	if (status > 0 && record->kind == 'l')
		status = read_text(build, &at, record->target, PATH_MAX - 1);
	return status > 0 ? (int)at : status;
}

/* A name may lead nowhere but into its directory; the root has none. */
static bool is_name_fine(const struct pv_tree_build *build, const char *name)
{
	if (build->depth == 0)
		return name[0] == '\0';
	return name[0] != '\0' && !strchr(name, '/') && strcmp(name, ".") != 0 &&
	       strcmp(name, "..") != 0;
}

/* --- acting --- */

static int enter(struct pv_tree_build *build, const struct record *record)
{
	int parent = build->depth > 0 ? build->folders[build->depth - 1] : AT_FDCWD;
	const char *name = build->depth > 0 ? record->name : build->root;
	int follow = build->depth > 0 ? O_NOFOLLOW : 0;
	if (build->depth > PV_TREE_DEPTH_MAX)
		return -EBADMSG;
	if (mkdirat(parent, name, 0700) < 0 && errno != EEXIST)
		return -errno;
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | follow);
	if (fd < 0)
		return -errno;
	build->modes[build->depth] = record->mode;
	build->folders[build->depth++] = fd;
	return 0;
}

static int leave(struct pv_tree_build *build)
{
	int fd = build->folders[--build->depth];
	int status = fchmod(fd, build->modes[build->depth]) < 0 ? -errno : 0;
	close(fd);
	return status;
}

/* Makes room for an entry that is made anew. */
static int clear(const struct pv_tree_build *build, const char *name)
{
	int folder = build->folders[build->depth - 1];
	return unlinkat(folder, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

/* The root is where the caller said, through links; one that is there keeps its permissions. */
static int open_root(struct pv_tree_build *build)
{
	const int flags = O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOCTTY;
	build->file = open(build->root, flags);
	if (build->file >= 0 || errno != ENOENT)
		return build->file < 0 ? -errno : 0;
	build->file = open(build->root, flags | O_CREAT, 0600);
	build->file_is_new = true;
	return build->file < 0 ? -errno : 0;
}

static int open_file(struct pv_tree_build *build, const struct record *record)
{
	build->file_mode = record->mode;
	build->file_size = record->size;
	build->file_is_new = build->depth > 0;
	if (record->size > INT64_MAX)
		return -EBADMSG;
	if (build->depth == 0)
		return open_root(build);
	int status = clear(build, record->name);
	if (status < 0)
		return status;
	build->file = openat(build->folders[build->depth - 1], record->name,
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return build->file < 0 ? -errno : 0;
}

/* A file ends with its size, which may be a hole, unless it is no regular one. */
static int close_file(struct pv_tree_build *build)
{
	struct stat info;
	int status = fstat(build->file, &info) < 0 ? -errno : 0;
	bool is_regular = status == 0 && S_ISREG(info.st_mode);
	if (is_regular && (uint64_t)info.st_size < build->file_size &&
	    ftruncate(build->file, (off_t)build->file_size) < 0)
		status = -errno;
	if (is_regular && build->file_is_new && fchmod(build->file, build->file_mode) < 0)
		status = -errno;
	if (close(build->file) < 0 && status == 0 && errno != EINTR)
		status = -errno;
	build->file = -1;
	return status;
}

static int make_link(struct pv_tree_build *build, const struct record *record)
{
	int status = clear(build, record->name);
	if (status == 0 &&
	    symlinkat(record->target, build->folders[build->depth - 1], record->name) < 0)
		status = -errno;
	return status;
}

static int make_fifo(struct pv_tree_build *build, const struct record *record)
{
	int folder = build->folders[build->depth - 1];
	int status = clear(build, record->name);
	if (status == 0 && mkfifoat(folder, record->name, 0600) < 0)
		status = -errno;
	if (status == 0 && fchmodat(folder, record->name, record->mode, 0) < 0)
		status = -errno;
	return status;
}

static int begin_part(struct pv_tree_build *build, const struct record *record)
{
	if (record->size > INT64_MAX - UINT32_MAX)
		return -EBADMSG;
	build->offset = record->size;
	build->left = record->len;
	return 0;
}

/* Is this a record that may come now? */
static bool is_expected(const struct pv_tree_build *build, const struct record *record)
{
	if (is_in_file(build))
		return record->kind == 'x' || record->kind == 'e';
	if (!build->begun)
		return record->kind == (build->is_directory ? 'd' : 'f');
	return build->depth > 0 && record->kind != 'x' && record->kind != 'e';
}

static int act(struct pv_tree_build *build, const struct record *record)
{
	const bool has_name = strchr("dflp", record->kind) != NULL;
	if (!is_expected(build, record) || (has_name && !is_name_fine(build, record->name)))
		return -EBADMSG;
	if (has_name)
		snprintf(build->where, sizeof(build->where), "%s", record->name);
	build->begun = true;
	switch (record->kind) {
	case 'd': return enter(build, record);
	case 'u': return leave(build);
	case 'f': return open_file(build, record);
	case 'x': return begin_part(build, record);
	case 'e': return close_file(build);
	case 'l': return make_link(build, record);
	default: return make_fifo(build, record);
	}
}

static int write_part(struct pv_tree_build *build, const uint8_t *data, size_t len)
{
	while (len > 0) {
		ssize_t done = pwrite(build->file, data, len, (off_t)build->offset);
		if (done < 0 && errno == ESPIPE)
			done = write(build->file, data, len);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		data += done;
		len -= (size_t)done;
		build->offset += (uint64_t)done;
		build->left -= (uint32_t)done;
	}
	return 0;
}

/* Adds bytes to the head until it is whole, and acts on it. Returns how many were used, or -errno.
 */
static int64_t take_head(struct pv_tree_build *build, const uint8_t *data, size_t len)
{
	struct record record;
	size_t before = build->have;
	size_t more = len < HEAD_MAX - before ? len : HEAD_MAX - before;
	memcpy(build->head + before, data, more);
	build->have += more;
	int size = read_record(build, &record);
	if (size < 0)
		return size;
	if (size == 0)
		return build->have == HEAD_MAX ? -EBADMSG : (int64_t)more;
	/* What was copied behind the head belongs to what follows. */
	build->have = 0;
	int status = act(build, &record);
	return status < 0 ? status : (int64_t)((size_t)size - before);
}

int pv_tree_build_take(struct pv_tree_build *build, const void *data, size_t len)
{
	const uint8_t *at = data;
	while (len > 0) {
		int64_t used;
		if (build->left > 0) {
			used = len < build->left ? (int64_t)len : build->left;
			int status = write_part(build, at, (size_t)used);
			if (status < 0)
				return status;
		} else if (is_whole(build)) {
			return -EBADMSG; /* behind the end */
		} else {
			used = take_head(build, at, len);
		}
		if (used < 0)
			return (int)used;
		at += used;
		len -= (size_t)used;
	}
	return 0;
}
