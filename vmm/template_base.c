/*
 * Which file a layer builds on, and what it calls it.
 *
 * An image remembers the file that it was read from or written to. A layer that is written looks
 * for the nearest image below it whose file may be used: it must lie in the directory that the
 * caller named, because whoever keeps that directory knows what its files need, and must be there
 * still, since a layer on a file that was replaced could never be opened. The name is relative to
 * the directory of the layer, with links resolved, so the tree may be moved.
 *
 * Called by template_write.c and template_read.c on any thread.
 */
#include "vmm/template_base.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fd.h"

void pv_template_base_remember(
    struct pv_ram_image *image, const struct pv_template_header *header, const char *path)
{
	char *real = realpath(path, NULL);
	size_t size = real ? strlen(real) + 1 : 0;
	struct pv_ram_home *home = real ? malloc(sizeof(*home) + size) : NULL;
	if (home) {
		_Static_assert(sizeof(home->id) == sizeof(header->id), "same identity");
		memcpy(home->id, header->id, sizeof(home->id));
		home->file_size = header->file_size;
		memcpy(home->header_hash, header->header_hash, sizeof(home->header_hash));
		memcpy(home->path, real, size);
		pv_ram_image_set_home(image, home);
	}
	free(real);
}

bool pv_template_base_is(
    const struct pv_template_header *header, const struct pv_template_header *base)
{
	return memcmp(header->base_id, base->id, sizeof(base->id)) == 0 &&
	       header->base_size == base->file_size &&
	       memcmp(header->base_hash, base->header_hash, sizeof(base->header_hash)) == 0;
}

/* `path` lies beneath the directory `tree`; both absolute. */
static bool is_beneath(const char *path, const char *tree)
{
	size_t len = strlen(tree);
	if (strcmp(tree, "/") == 0)
		return true;
	return strncmp(path, tree, len) == 0 && path[len] == '/';
}

/* The way from a directory to a file, both absolute, into a buffer. False: it does not fit. */
static bool find_way(char way[PV_TEMPLATE_HEADER_NAME], const char *folder, const char *path)
{
	size_t common = 0; /* up to and with the last slash that both have */
	for (size_t i = 0; folder[i] == path[i] || (!folder[i] && path[i] == '/'); i++) {
		if (path[i] == '/')
			common = i + 1;
		if (!folder[i] || !path[i])
			break;
	}
	size_t len = 0;
	const char *rest = folder + (common > strlen(folder) ? strlen(folder) : common);
	while (*rest) {
		int more = snprintf(way + len, PV_TEMPLATE_HEADER_NAME - len, "../");
		len += (size_t)more;
		if (len >= PV_TEMPLATE_HEADER_NAME)
			return false;
		rest += strcspn(rest, "/");
		rest += strspn(rest, "/");
	}
	return (size_t)snprintf(way + len, PV_TEMPLATE_HEADER_NAME - len, "%s", path + common) <
	       PV_TEMPLATE_HEADER_NAME - len;
}

/* Fills in the base if the file at that home is still the same. */
static bool take_home(struct pv_template_header *header, const struct pv_ram_home *home)
{
	struct pv_err ignored = PV_ERR_INIT;
	struct pv_template_header *now = malloc(sizeof(*now));
	int fd = now ? pv_template_header_open(home->path) : -1;
	bool same = fd >= 0 && pv_template_header_read(now, fd, home->path, &ignored) == 0;
	if (same) {
		memcpy(header->base_id, home->id, sizeof(header->base_id));
		header->base_size = home->file_size;
		memcpy(header->base_hash, home->header_hash, sizeof(header->base_hash));
		same = pv_template_base_is(header, now);
	}
	pv_fd_close(&fd);
	free(now);
	return same;
}

/* The real path of the directory that `path` is in; to be freed, or NULL. */
static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *name = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	char *real = name ? realpath(name, NULL) : NULL;
	free(name);
	return real;
}

/* What is written replaces that file. */
static bool is_target(const char *home, const char *folder, const char *path)
{
	const char *slash = strrchr(path, '/');
	size_t len = strcmp(folder, "/") == 0 ? 0 : strlen(folder);
	return strncmp(home, folder, len) == 0 && home[len] == '/' &&
	       strcmp(home + len + 1, slash ? slash + 1 : path) == 0;
}

const struct pv_ram_image *pv_template_base_find(struct pv_template_header *header,
    struct pv_ram_image *image, const char *path, const char *tree)
{
	char *top = realpath(tree, NULL);
	char *folder = folder_of(path);
	struct pv_ram_image *found = NULL;
	bool within = top && folder && (strcmp(top, folder) == 0 || is_beneath(folder, top));
	/* A layer without pages on a file with the same RAM counts as one too. */
	if (image->depth == PV_RAM_DEPTH_MAX)
		image = image->base;
	for (; image && within && !found; image = image->base) {
		struct pv_ram_home *home = pv_ram_image_home(image);
		if (home && is_beneath(home->path, top) && !is_target(home->path, folder, path) &&
		    take_home(header, home) && find_way(header->base_name, folder, home->path))
			found = image;
		free(home);
	}
	if (!found) {
		memset(header->base_id, 0, sizeof(header->base_id));
		memset(header->base_hash, 0, sizeof(header->base_hash));
		memset(header->base_name, 0, sizeof(header->base_name));
		header->base_size = 0;
	}
	free(folder);
	free(top);
	return found;
}
