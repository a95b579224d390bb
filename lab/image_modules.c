/*
 * Choosing modules. Theory: a package or folder may hold thousands of modules of which an image
 * takes a dozen, so a module is read only when it is wanted. What it needs is said by its own
 * `depends=` (lab/modinfo.h): Debian's packages bring no modules.dep, and one that lies around may
 * be stale. The search is depth first, so that `order` has each module behind all that it needs.
 * Soft dependencies (`softdep=pre: ...`) are included when they are there, as modprobe would load
 * them. One thread.
 */
#include "lab/image_modules.h"

#include <errno.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "lab/modinfo.h"
#include "vmm/unpack.h"

#define NAME_MAX_LEN	 128
#define BUILTIN_SIZE_MAX (4u << 20)

static const struct {
	const char *suffix;
	enum pv_kernel_format packed;
} kinds[] = {
    {".ko",	    PV_KERNEL_UNKNOWN},
    {".ko.gz",  PV_KERNEL_GZIP   },
    {".ko.xz",  PV_KERNEL_XZ	   },
    {".ko.zst", PV_KERNEL_ZSTD   },
};

/* --- names --- */

/* Copies a name of `len` bytes as the kernel spells it. False when it is too long or empty. */
static bool spell(char out[NAME_MAX_LEN], const char *name, size_t len)
{
	if (len == 0 || len >= NAME_MAX_LEN)
		return false;
	for (size_t i = 0; i < len; i++)
		out[i] = (char)(name[i] == '-' ? '_' : name[i]);
	out[len] = '\0';
	return true;
}

/* Splits "kernel/fs/x-y.ko.xz" into the name "x_y" and the row of `kinds`; false when it is no
 * module. */
static bool parse_path(const char *path, size_t len, char name[NAME_MAX_LEN], size_t *kind)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t suffix = strlen(kinds[i].suffix);
		if (len <= suffix || memcmp(path + len - suffix, kinds[i].suffix, suffix) != 0)
			continue;
		const char *slash = memrchr(path, '/', len);
		const char *base = slash ? slash + 1 : path;
		*kind = i;
		return spell(name, base, (size_t)(path + len - suffix - base));
	}
	return false;
}

size_t pv_image_modules_path_len(const struct pv_image_module *module)
{
	size_t len = strlen(module->path);
	return module->packed == PV_KERNEL_UNKNOWN
		   ? len
		   : (size_t)(strrchr(module->path, '.') - module->path);
}

/* The module of that name; one in `updates/` replaces the kernel's own, as depmod has it. NULL when
 * there is none. */
static struct pv_image_module *find(const struct pv_image_modules *modules, const char *name)
{
	struct pv_image_module *found = NULL;
	for (size_t i = 0; i < modules->count; i++) {
		struct pv_image_module *module = &modules->items[i];
		if (strcmp(module->name, name) == 0 &&
		    (!found || strncmp(module->path, "updates/", 8) == 0))
			found = module;
	}
	return found;
}

bool pv_image_modules_is_builtin(const struct pv_image_modules *modules, const char *name)
{
	char wanted[NAME_MAX_LEN], one[NAME_MAX_LEN];
	const char *text = (const char *)modules->builtin.data;
	size_t left = modules->builtin.len, kind;
	if (!spell(wanted, name, strlen(name)))
		return false;
	while (left) {
		const char *end = memchr(text, '\n', left);
		size_t len = end ? (size_t)(end - text) : left;
		if (parse_path(text, len, one, &kind) && strcmp(one, wanted) == 0)
			return true;
		text += len + (end != NULL);
		left -= len + (end != NULL);
	}
	return false;
}

/* --- what there is --- */

/* A path that would leave its folder, or that a line of modules.dep cannot hold. */
static bool is_odd(const char *path)
{
	return path[0] == '/' || strstr(path, "../") || strpbrk(path, " \t\n\r:#");
}

int pv_image_modules_add(struct pv_image_modules *modules, const char *path, uint64_t offset,
    uint64_t size, struct pv_err *err)
{
	char name[NAME_MAX_LEN];
	size_t kind;
	if (is_odd(path) || !parse_path(path, strlen(path), name, &kind))
		return 0;
	if (modules->count == PV_IMAGE_MODULES_MAX)
		return pv_err_set(
		    err, PV_ERR_LIMIT, E2BIG, "more than %d kernel modules", PV_IMAGE_MODULES_MAX);
	struct pv_image_module *grown = modules->items;
	/* Doubled, as there may be thousands. */
	if ((modules->count & (modules->count - 1)) == 0)
		grown =
		    reallocarray(grown, modules->count ? modules->count * 2 : 1, sizeof(*grown));
	if (!grown)
		return pv_err_nomem(err, "kernel modules");
	modules->items = grown;
	struct pv_image_module *module = &grown[modules->count];
	*module = (struct pv_image_module){
	    .name = strdup(name),
	    .path = strdup(path),
	    .packed = kinds[kind].packed,
	    .offset = offset,
	    .size = size,
	};
	modules->count++;
	return module->name && module->path ? 0 : pv_err_nomem(err, "kernel modules");
}

static int read_builtin(struct pv_image_modules *modules, struct pv_err *err)
{
	char path[4096];
	if ((size_t)snprintf(path, sizeof(path), "%s/modules.builtin", modules->folder) >=
	    sizeof(path))
		return pv_err_set(err, PV_ERR_INPUT, ENAMETOOLONG, "the path is too long");
	if (access(path, F_OK) < 0)
		return 0;
	return pv_fd_slurp(
	    "list of built-in modules", path, BUILTIN_SIZE_MAX, &modules->builtin, err);
}

static int add_file(
    struct pv_image_modules *modules, const char *path, const struct stat *st, struct pv_err *err)
{
	size_t before = modules->count;
	int status = pv_image_modules_add(modules, path, 0, (uint64_t)st->st_size, err);
	if (!status && modules->count > before)
		modules->items[before].modified_ns =
		    (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
	return status;
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

int pv_image_modules_walk(struct pv_image_modules *modules, const char *folder, struct pv_err *err)
{
	char *roots[] = {(char *)folder, NULL};
	size_t skip = strlen(folder);
	modules->folder = strdup(folder);
	if (!modules->folder)
		return pv_err_nomem(err, "kernel modules");
	FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
	if (!walk)
		return pv_err_system(err, errno, "modules `%s`: cannot walk it", folder);
	int status = 0;
	for (FTSENT *entry; !status && (entry = fts_read(walk));) {
		const char *below = entry->fts_path + skip + strspn(entry->fts_path + skip, "/");
		if (entry->fts_info == FTS_F)
			status = add_file(modules, below, entry->fts_statp, err);
		else if (entry->fts_info == FTS_DNR || entry->fts_info == FTS_ERR ||
			 entry->fts_info == FTS_NS)
			status = pv_err_system(
			    err, entry->fts_errno, "modules `%s`: cannot read it", entry->fts_path);
	}
	fts_close(walk);
	if (!status)
		status = read_builtin(modules, err);
	if (!status && modules->count == 0 && modules->builtin.len == 0)
		status = pv_err_set(err, PV_ERR_INPUT, ENOENT,
		    "modules `%s`: no *.ko file is in it; give the folder "
		    ".../lib/modules/<release>",
		    folder);
	return status;
}

/* --- what is wanted --- */

static int read_raw(const struct pv_image_modules *modules, const struct pv_image_module *module,
    struct pv_bytes *out, struct pv_err *err)
{
	if (modules->spool < 0) {
		char path[8192];
		if ((size_t)snprintf(path, sizeof(path), "%s/%s", modules->folder, module->path) >=
		    sizeof(path))
			return pv_err_set(err, PV_ERR_INPUT, ENAMETOOLONG,
			    "module `%s`: its path is too long", module->name);
		return pv_fd_slurp("module", path, PV_IMAGE_MODULE_SIZE_MAX, out, err);
	}
	if (module->size > PV_IMAGE_MODULE_SIZE_MAX)
		return pv_err_set(err, PV_ERR_LIMIT, EFBIG, "module `%s`: %llu bytes are too many",
		    module->name, (unsigned long long)module->size);
	if (pv_bytes_reserve(out, (size_t)module->size))
		return pv_err_nomem(err, "kernel module");
	int status =
	    pv_fd_pread_all(modules->spool, out->data, (size_t)module->size, module->offset);
	if (status)
		return pv_err_system(
		    err, -status, "module `%s`: cannot read the copy", module->name);
	out->len = (size_t)module->size;
	return 0;
}

static int read_content(
    const struct pv_image_modules *modules, struct pv_image_module *module, struct pv_err *err)
{
	struct pv_bytes raw = {0};
	int status = read_raw(modules, module, &raw, err);
	if (!status && module->packed == PV_KERNEL_UNKNOWN) {
		module->content = raw;
		return 0;
	}
	if (!status) {
		status = pv_unpack(module->packed, raw.data, raw.len, PV_IMAGE_MODULE_SIZE_MAX,
		    &module->content, err);
		if (status)
			pv_err_prefix(err, "module `%s`", module->path);
	}
	pv_bytes_finish(&raw);
	return status;
}

/* Adds an index unless it is there. */
static int add_need(struct pv_image_module *module, size_t index)
{
	for (size_t i = 0; i < module->need_count; i++) {
		if (module->needs[i] == index)
			return 0;
	}
	size_t *grown = reallocarray(module->needs, module->need_count + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	module->needs = grown;
	grown[module->need_count++] = index;
	return 0;
}

static int visit(struct pv_image_modules *modules, struct pv_image_module *module, bool load,
    unsigned depth, struct pv_err *err);

/* `module` needs the module `name`: visits it and takes over its needs. */
static int visit_need(struct pv_image_modules *modules, struct pv_image_module *module,
    const char *name, bool load, unsigned depth, struct pv_err *err)
{
	struct pv_image_module *need = find(modules, name);
	if (!need)
		return pv_err_set(err, PV_ERR_INPUT, ENOEXEC,
		    "module `%s` needs module `%s`, which did not come with the kernel; give a "
		    "complete modules folder",
		    module->name, name);
	int status = visit(modules, need, load, depth + 1, err);
	for (size_t i = 0; !status && i < need->need_count; i++) {
		if (add_need(module, need->needs[i]))
			status = pv_err_nomem(err, "kernel modules");
	}
	if (!status && add_need(module, (size_t)(need - modules->items)))
		status = pv_err_nomem(err, "kernel modules");
	return status;
}

/* Visits each name of a list separated by one of `separators`; a soft one may be missing. */
static int visit_list(struct pv_image_modules *modules, struct pv_image_module *module,
    struct pv_span list, const char *separators, bool soft, bool load, unsigned depth,
    struct pv_err *err)
{
	const char *text = list.data;
	int status = 0;
	for (size_t i = 0; i < list.len && !status;) {
		size_t len = 0;
		while (i + len < list.len && !strchr(separators, text[i + len]))
			len++;
		char name[NAME_MAX_LEN];
		/* "pre: a b post: c": only what comes before matters. */
		if (soft && len && text[i + len - 1] == ':' &&
		    (len != 4 || memcmp(text + i, "pre:", 4) != 0))
			break;
		if (spell(name, text + i, len) && (!soft || find(modules, name)))
			status = visit_need(modules, module, name, load, depth, err);
		i += len + 1;
	}
	return status;
}

static int visit_needs(struct pv_image_modules *modules, struct pv_image_module *module, bool load,
    unsigned depth, struct pv_err *err)
{
	struct pv_span info, value;
	int status = pv_modinfo_find(&info, module->content.data, module->content.len, err);
	if (status)
		return pv_err_prefix(err, "module `%s`", module->path);
	for (size_t at = 0; !status && pv_modinfo_next(info, "depends", &at, &value);)
		status = visit_list(modules, module, value, ",", false, load, depth, err);
	for (size_t at = 0; !status && pv_modinfo_next(info, "softdep", &at, &value);)
		status = visit_list(modules, module, value, " ", true, load, depth, err);
	return status;
}

static int visit(struct pv_image_modules *modules, struct pv_image_module *module, bool load,
    unsigned depth, struct pv_err *err)
{
	if (module->visiting || depth > PV_IMAGE_MODULE_DEPTH)
		return pv_err_set(err, PV_ERR_INPUT, ELOOP,
		    "module `%s` needs itself; give an unbroken modules folder", module->name);
	if (module->wanted)
		return 0;
	module->visiting = true;
	int status = read_content(modules, module, err);
	if (!status)
		status = visit_needs(modules, module, load, depth, err);
	module->visiting = false;
	if (status)
		return status;
	size_t *grown = reallocarray(modules->order, modules->order_count + 1, sizeof(*grown));
	if (!grown)
		return pv_err_nomem(err, "kernel modules");
	modules->order = grown;
	grown[modules->order_count++] = (size_t)(module - modules->items);
	module->wanted = true;
	module->load = load;
	return 0;
}

int pv_image_modules_want(
    struct pv_image_modules *modules, const char *name, bool load, struct pv_err *err)
{
	char spelled[NAME_MAX_LEN];
	struct pv_image_module *module =
	    spell(spelled, name, strlen(name)) ? find(modules, spelled) : NULL;
	return module ? visit(modules, module, load, 0, err) : 1;
}

/* --- what is said of them --- */

bool pv_image_modules_release(const struct pv_image_modules *modules, char *out, size_t size)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_span info, magic;
	size_t at = 0;
	if (!modules->order_count)
		return false;
	const struct pv_bytes *content = &modules->items[modules->order[0]].content;
	if (pv_modinfo_find(&info, content->data, content->len, &err) ||
	    !pv_modinfo_next(info, "vermagic", &at, &magic))
		return false;
	const char *space = memchr(magic.data, ' ', magic.len);
	size_t len = space ? (size_t)(space - (const char *)magic.data) : magic.len;
	if (len == 0 || len >= size)
		return false;
	memcpy(out, magic.data, len);
	out[len] = '\0';
	return true;
}

static int write_path(const struct pv_image_module *module, struct pv_bytes *out)
{
	return pv_bytes_append(out, module->path, pv_image_modules_path_len(module));
}

int pv_image_modules_write_dep(const struct pv_image_modules *modules, struct pv_bytes *out)
{
	int status = 0;
	for (size_t i = 0; i < modules->order_count && !status; i++) {
		const struct pv_image_module *module = &modules->items[modules->order[i]];
		status = write_path(module, out) ? -ENOMEM : pv_bytes_append(out, ":", 1);
		/* All of them, and what is loaded first stands last: modprobe does not look any
		 * further (modules.dep(5)). */
		for (size_t n = module->need_count; n-- > 0 && !status;)
			status = pv_bytes_append(out, " ", 1)
				     ? -ENOMEM
				     : write_path(&modules->items[module->needs[n]], out);
		if (!status)
			status = pv_bytes_append(out, "\n", 1);
	}
	return status;
}

int pv_image_modules_write_alias(const struct pv_image_modules *modules, struct pv_bytes *out)
{
	int status = 0;
	for (size_t i = 0; i < modules->order_count && !status; i++) {
		const struct pv_image_module *module = &modules->items[modules->order[i]];
		struct pv_err err = PV_ERR_INIT;
		struct pv_span info, alias;
		if (pv_modinfo_find(&info, module->content.data, module->content.len, &err))
			continue;
		for (size_t at = 0; !status && pv_modinfo_next(info, "alias", &at, &alias);) {
			/* A hostile one could begin a line of its own. */
			if (!alias.len || memchr(alias.data, '\n', alias.len) ||
			    memchr(alias.data, ' ', alias.len))
				continue;
			status = pv_bytes_printf(out, "alias %.*s %s\n", (int)alias.len,
			    (const char *)alias.data, module->name);
		}
	}
	return status;
}

void pv_image_modules_finish(struct pv_image_modules *modules)
{
	for (size_t i = 0; i < modules->count; i++) {
		struct pv_image_module *module = &modules->items[i];
		free(module->name);
		free(module->path);
		free(module->needs);
		pv_bytes_finish(&module->content);
	}
	free(modules->items);
	free(modules->folder);
	free(modules->order);
	pv_bytes_finish(&modules->builtin);
	pv_fd_close(&modules->spool);
	*modules = (struct pv_image_modules)PV_IMAGE_MODULES_INIT;
}
