/*
 * Getting fixtures. Theory: find the source, compute the key, open the entry of that key. When
 * there is none, or one that is damaged, somebody is asked to build it, and then it is opened
 * again. An entry may go at any moment (another process evicts it), so that is tried a few times;
 * what was opened stays good.
 *
 * Only the header and the state of an entry are checked here: its memory is read when the guest
 * touches it. `provium fixture verify` checks all of it.
 */
#include "lab/fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/fd.h"
#include "lab/config.h"
#include "lab/fixture_lock.h"
#include "lab/host.h"
#include "lab/lab.h"
#include "lab/lab_snapshot.h"
#include "lab/snapshot.h"
#include "lab/vm.h"
#include "vmm/template.h"

#define ATTEMPTS 3

/* One call. */
struct order {
	const struct pv_fixtures *fixtures;
	struct pv_lab *lab;
	struct pv_fixture_request request;
	enum pv_fixture_kind kind;
	const char *dir;
	struct pv_bytes *why;
};

/* What it gives, by its kind. */
struct goods {
	struct pv_vm *vm;
	struct pv_lab *lab;
};

/* --- the VM --- */

/* "<before><name of the fixture><after>", and "#<number>" behind it but for the first. */
static int format_name(const struct order *order, const char *before, const char *after,
    unsigned number, struct pv_bytes *name, struct pv_err *err)
{
	pv_bytes_finish(name);
	int status = pv_bytes_printf(name, "%s%s", before, order->request.name);
	for (size_t i = 0; i < name->len; i++)
		name->data[i] = name->data[i] == '/' ? '_' : name->data[i];
	if (!status)
		status = pv_bytes_printf(name, "%s", after);
	if (!status && number > 1)
		status = pv_bytes_printf(name, "#%u", number);
	return status || !pv_bytes_text(name) ? pv_err_nomem(err, "the name of a fixture") : 0;
}

/* The first free name. */
static int name_vm(const struct order *order, struct pv_bytes *name, struct pv_err *err)
{
	unsigned number = 1;
	int status;
	do {
		status = format_name(order, "fixture:", "", number++, name, err);
	} while (!status && pv_lab_find_vm(order->lab, pv_bytes_text(name)));
	return status;
}

static int restore_snapshot(
    const struct order *order, struct pv_snapshot *snapshot, struct pv_vm **out, struct pv_err *err)
{
	struct pv_bytes name = {0};
	char *profile = NULL;
	struct pv_vm *vm = NULL;
	int status = pv_vm_saved_profile(snapshot, &profile, err);
	if (!status)
		status = name_vm(order, &name, err);
	if (!status)
		status = pv_lab_add_vm(order->lab, pv_bytes_text(&name), profile, NULL, &vm, err);
	if (!status) {
		status = pv_vm_restore(vm, snapshot, false, err);
		if (status) {
			pv_vm_shutdown(vm);
			pv_lab_remove_vm(order->lab, vm);
		}
	}
	free(profile);
	pv_bytes_finish(&name);
	*out = status ? NULL : vm;
	return status;
}

/* `*opened` says that the file itself is sound. */
static int restore_file(const struct order *order, const char *path, bool *opened,
    struct pv_vm **out, struct pv_err *err)
{
	struct pv_template *template = NULL;
	struct pv_snapshot *snapshot = NULL;
	int status = pv_template_open(&template, path, false, err);
	*opened = !status;
	if (!status)
		status = pv_snapshot_create_memory(&snapshot, template, err);
	if (!status)
		status = restore_snapshot(order, snapshot, out, err);
	pv_snapshot_destroy(snapshot);
	pv_template_unref(template);
	return status;
}

/* --- the lab --- */

static int name_lab(const struct order *order, struct pv_bytes *name, struct pv_err *err)
{
	unsigned number = 1;
	char pid[32];
	int status;
	snprintf(pid, sizeof(pid), "-%d", (int)getpid());
	do {
		status = format_name(order, "", pid, number++, name, err);
	} while (!status && pv_lab_find_lab(order->lab, pv_bytes_text(name)));
	return status;
}

static int restore_directory(const struct order *order, const char *path, bool *opened,
    struct pv_lab **out, struct pv_err *err)
{
	struct pv_lab_snapshot *snapshot = NULL;
	struct pv_bytes name = {0};
	struct pv_lab *lab = NULL;
	int status = pv_lab_snapshot_open(&snapshot, path, false, err);
	*opened = !status;
	if (!status)
		status = name_lab(order, &name, err);
	if (!status)
		status = pv_lab_sub(order->lab, pv_bytes_text(&name), &lab, err);
	if (!status) {
		status = pv_lab_snapshot_restore(snapshot, lab, false, err);
		if (status)
			pv_lab_remove_lab(order->lab, lab);
	}
	pv_bytes_finish(&name);
	pv_lab_snapshot_destroy(snapshot);
	*out = status ? NULL : lab;
	return status;
}

static int restore_path(const struct order *order, const char *path, bool *opened,
    struct goods *goods, struct pv_err *err)
{
	return order->kind == PV_FIXTURE_LAB
		   ? restore_directory(order, path, opened, &goods->lab, err)
		   : restore_file(order, path, opened, &goods->vm, err);
}

/* --- the cache --- */

/* Damaged, of another version, or without its base; not trouble of this process. */
static bool is_bad_entry(const struct pv_err *err)
{
	return err->kind == PV_ERR_INPUT || err->code == ENOENT;
}

static bool can_be_opened(const struct order *order, const char *path)
{
	struct pv_err ignored = PV_ERR_INIT;
	struct pv_template *template = NULL;
	struct pv_lab_snapshot *snapshot = NULL;
	const int status = order->kind == PV_FIXTURE_LAB
			       ? pv_lab_snapshot_open(&snapshot, path, false, &ignored)
			       : pv_template_open(&template, path, false, &ignored);
	pv_lab_snapshot_destroy(snapshot);
	pv_template_unref(template);
	return status == 0;
}

/* Removes the entry unless a builder is at it, or a sound one took the place of one that could not
 * be opened. */
static void evict_bad(const struct order *order, const char *path, bool opened)
{
	struct pv_err ignored = PV_ERR_INIT;
	struct pv_fixture_lock lock = PV_FIXTURE_LOCK_INIT;
	if (pv_fixture_lock_take(&lock, order->dir, order->request.key, false, &ignored))
		return;
	if (opened || !can_be_opened(order, path))
		(void)pv_fixture_cache_evict(order->dir, order->request.key, &ignored);
	pv_fixture_lock_release(&lock);
}

static void warn(const struct order *order, const struct pv_err *err)
{
	const struct pv_host *host = pv_lab_host(order->lab);
	struct pv_bytes text = {0};
	if (host->events && host->events->note &&
	    pv_bytes_printf(&text,
		"fixture `%s`: what is in the cache cannot be used and is built "
		"again: %s",
		order->request.name, err->text) == 0 &&
	    pv_bytes_text(&text))
		host->events->note(host->events_ctx, pv_bytes_text(&text));
	pv_bytes_finish(&text);
}

static int other_kind(const struct order *order, struct pv_err *err)
{
	const bool lab = order->kind == PV_FIXTURE_LAB;
	return pv_err_set(err, PV_ERR_INPUT, EINVAL,
	    "%s `%s` returned a %s snapshot; use %s instead", lab ? "lab_fixture" : "vm_fixture",
	    order->request.name, lab ? "vm" : "lab", lab ? "vm_fixture" : "lab_fixture");
}

/* Returns 0, -EAGAIN when it must be built, or another -errno. */
static int restore_cached(const struct order *order, struct goods *goods, struct pv_err *err)
{
	const struct pv_fixture_request *request = &order->request;
	if (!pv_fixture_cache_has(order->dir, request->key, order->kind)) {
		const enum pv_fixture_kind other =
		    order->kind == PV_FIXTURE_LAB ? PV_FIXTURE_VM : PV_FIXTURE_LAB;
		return pv_fixture_cache_has(order->dir, request->key, other)
			   ? other_kind(order, err)
			   : -EAGAIN;
	}
	char *path = pv_fixture_cache_path(order->dir, request->key, order->kind);
	if (!path)
		return pv_err_nomem(err, "the path of a fixture");
	bool opened;
	int status = restore_path(order, path, &opened, goods, err);
	if (!status) {
		pv_fixture_cache_touch(order->dir, request->key, order->kind);
	} else if (is_bad_entry(err)) {
		warn(order, err);
		evict_bad(order, path, opened);
		status = -EAGAIN;
	}
	free(path);
	return status;
}

/* From a descriptor that a builder left, which is closed. */
static int restore_answer(
    const struct order *order, int fd, struct goods *goods, struct pv_err *err)
{
	struct stat info;
	char path[64];
	bool opened;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	const bool is_lab = fstat(fd, &info) == 0 && S_ISDIR(info.st_mode);
	const int status = is_lab == (order->kind == PV_FIXTURE_LAB)
			       ? restore_path(order, path, &opened, goods, err)
			       : other_kind(order, err);
	pv_fd_close(&fd);
	return status;
}

static int get_goods(const struct order *order, struct goods *goods, struct pv_err *err)
{
	const struct pv_fixtures *fixtures = order->fixtures;
	for (unsigned attempt = 0; attempt < ATTEMPTS; attempt++) {
		struct pv_fixture_answer answer = {.fd = -1};
		int status = order->request.legacy ? -EAGAIN : restore_cached(order, goods, err);
		if (!status && attempt == 0 && fixtures->hit)
			fixtures->hit(fixtures->ctx, order->request.name);
		if (status != -EAGAIN)
			return status;
		status = fixtures->build(fixtures->ctx, &order->request, &answer, order->why, err);
		if (status)
			return status;
		if (answer.fd >= 0)
			return restore_answer(order, answer.fd, goods, err);
	}
	return pv_err_set(err, PV_ERR_SYSTEM, EAGAIN,
	    "fixture `%s`: it was built %d times and was gone from the cache each time; is "
	    "something else emptying `%s`?",
	    order->request.name, ATTEMPTS, order->dir);
}

/* Fills in what the order says of its source and hands it over. */
static int fill_order(struct order *order, struct goods *goods, struct pv_err *err)
{
	const struct pv_fixture_place *place = order->fixtures->place;
	struct pv_fixture_request *request = &order->request;
	char key[PV_HASH_TEXT];
	char *path = NULL;
	int status = pv_fixture_find(place, request->name, request->legacy, &path, err);
	if (!status && request->legacy)
		pv_hash_of(path, strlen(path), key);
	else if (!status)
		status = pv_fixture_key(place, path, key, err);
	if (!status) {
		request->path = path;
		request->key = key;
		order->dir = place->config->cache_dir;
		status = get_goods(order, goods, err);
	}
	free(path);
	return status;
}

int pv_fixture_vm(const struct pv_fixtures *fixtures, struct pv_lab *lab, const char *name,
    bool legacy, struct pv_vm **out, struct pv_bytes *why, struct pv_err *err)
{
	struct goods goods = {0};
	struct order order = {
	    .fixtures = fixtures,
	    .lab = lab,
	    .request = {.name = name, .legacy = legacy},
	    .kind = PV_FIXTURE_VM,
	    .why = why
	      };
	const int status = fill_order(&order, &goods, err);
	*out = goods.vm;
	return status;
}

int pv_fixture_lab(const struct pv_fixtures *fixtures, struct pv_lab *lab, const char *name,
    struct pv_lab **out, struct pv_bytes *why, struct pv_err *err)
{
	struct goods goods = {0};
	struct order order = {.fixtures = fixtures,
	    .lab = lab,
	    .request = {.name = name},
	    .kind = PV_FIXTURE_LAB,
	    .why = why};
	const int status = fill_order(&order, &goods, err);
	*out = goods.lab;
	return status;
}
