/*
 * Making a guest. Theory: everything is read, chosen and composed in memory first; then three files
 * are written, each appearing whole, and the profile last, because it is what makes a folder a
 * guest. The profile records what went in, so that a second call with the same input finds
 * everything there and writes nothing.
 *
 * Which modules: those that the agent and the consoles need are loaded at boot, as few as possible,
 * because each costs boot time; those that tests often ask for are included for modprobe, also when
 * the kernel itself asks; no others, because size costs boot time too. One thread.
 */
#include "lab/image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/hash.h"
#include "lab/image_busybox.h"
#include "lab/image_modules.h"
#include "lab/image_package.h"
#include "lab/image_profile.h"
#include "lab/image_root.h"
#include "vmm/kernel.h"

/* Changed when the same input gives another image. */
#define RECIPE "3"

#define PATH_SIZE 4096

/* Before the agent says hello. */
static const char *const to_load_first[] = {
    "virtio_pci", "vmw_vsock_virtio_transport", /* the agent's connection */
    "button",					/* vm:power_button() */
};

/* Before the agent does anything else. */
static const char *const to_load[] = {"virtio_console", "virtio_rng"};

static const char *const to_include[] = {
    "virtio_blk",
    "virtio_net",
    "af_packet",
    "unix",
    "ext4",
    "loop",
    "overlay",
    "evdev",
};

/* An image in the making. */
struct build {
	const struct pv_image_options *options;
	char kernel_path[PATH_SIZE];  /* or empty: from the package */
	char modules_path[PATH_SIZE]; /* or empty */
	char busybox[PATH_SIZE];
	char origin[3 * PATH_SIZE]; /* in words */
	struct pv_bytes kernel;
	struct pv_image_modules modules;
	char folder_release[256]; /* the name of the modules folder */
	struct pv_bytes initrd;
	struct pv_bytes profile;
	struct pv_image_record record;
};

/* --- where things are --- */

static bool copy_path(char out[PATH_SIZE], const char *text)
{
	size_t len = strlen(text);
	while (len > 1 && text[len - 1] == '/')
		len--;
	if (len >= PATH_SIZE)
		return false;
	memcpy(out, text, len);
	out[len] = '\0';
	return true;
}

/* The kernel that this host runs. */
static int locate_running(struct build *build, struct pv_err *err)
{
	struct utsname host;
	if (uname(&host) < 0)
		return pv_err_system(err, errno, "cannot tell which kernel runs here");
	snprintf(build->kernel_path, PATH_SIZE, "/boot/vmlinuz-%s", host.release);
	if (access(build->kernel_path, F_OK) < 0)
		snprintf(build->kernel_path, PATH_SIZE, "/lib/modules/%s/vmlinuz", host.release);
	if (access(build->kernel_path, F_OK) < 0)
		return pv_err_set(err, PV_ERR_INPUT, ENOENT,
		    "the kernel that runs here has no file /boot/vmlinuz-%s; give --deb with a "
		    "linux-image package, or --kernel",
		    host.release);
	snprintf(build->modules_path, PATH_SIZE, "/lib/modules/%s", host.release);
	if (access(build->modules_path, F_OK) < 0)
		build->modules_path[0] = '\0';
	return 0;
}

static int locate(struct build *build, struct pv_err *err)
{
	const struct pv_image_source *source = &build->options->source;
	if ((source->package != NULL) + (source->kernel != NULL) + source->running != 1)
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "give the kernel by exactly one of --deb, --kernel and --running");
	if (source->modules && !source->kernel)
		return pv_err_set(err, PV_ERR_INPUT, EINVAL, "--modules goes with --kernel only");
	if (source->package) {
		snprintf(build->origin, sizeof(build->origin), "the package %s", source->package);
		return 0;
	}
	int status = source->running ? locate_running(build, err) : 0;
	if (source->kernel &&
	    (!copy_path(build->kernel_path, source->kernel) ||
		!copy_path(build->modules_path, source->modules ? source->modules : "")))
		status = pv_err_set(
		    err, PV_ERR_INPUT, ENAMETOOLONG, "the path of the kernel is too long");
	if (!status)
		snprintf(build->origin, sizeof(build->origin), "%s%s%s", build->kernel_path,
		    build->modules_path[0] ? " with the modules of " : "", build->modules_path);
	return status;
}

/* --- is it there already? --- */

static void hash_text(struct pv_hash *hash, const char *text)
{
	pv_hash_update(hash, text ? text : "", text ? strlen(text) + 1 : 0);
	pv_hash_update(hash, text ? "+" : "-", 1);
}

static int hash_file(struct pv_hash *hash, const char *what, const char *path, struct pv_err *err)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return pv_err_system(err, errno, "%s `%s`", what, path);
	int64_t facts[] = {st.st_size, st.st_mtim.tv_sec, st.st_mtim.tv_nsec};
	hash_text(hash, path);
	pv_hash_update(hash, facts, sizeof(facts));
	return 0;
}

/* Everything that decides about the image's content; files by path, size and time. */
static int hash_inputs(struct build *build, struct pv_err *err)
{
	const struct pv_image_options *options = build->options;
	struct pv_hash hash;
	pv_hash_init(&hash);
	hash_text(&hash, RECIPE " " PV_VERSION);
	/* With the text of the profile, which changes more often than the recipe. */
	struct pv_bytes profile = {0};
	if (pv_image_profile_write(
		&profile, options->name, build->origin, options->cmdline, &build->record))
		return pv_err_nomem(err, "profile");
	pv_hash_update(&hash, profile.data, profile.len);
	pv_bytes_finish(&profile);
	for (size_t i = 0; i < options->extra_module_count; i++)
		hash_text(&hash, options->extra_modules[i]);
	int status = hash_file(&hash, "busybox", build->busybox, err);
	if (!status && options->source.package)
		status = hash_file(&hash, "package", options->source.package, err);
	if (!status && build->kernel_path[0])
		status = hash_file(&hash, "kernel", build->kernel_path, err);
	hash_text(&hash, build->modules_path);
	for (size_t i = 0; i < build->modules.count; i++) {
		const struct pv_image_module *module = &build->modules.items[i];
		int64_t facts[] = {(int64_t)module->size, module->modified_ns};
		hash_text(&hash, module->path);
		pv_hash_update(&hash, facts, sizeof(facts));
	}
	pv_hash_update(&hash, build->modules.builtin.data, build->modules.builtin.len);
	pv_hash_finish(&hash, build->record.inputs);
	return status;
}

static bool has_size(const char *path, uint64_t size)
{
	struct stat st;
	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == size;
}

static bool is_current(
    const struct build *build, const struct pv_image_result *result, struct pv_image_record *old)
{
	return pv_image_profile_read(result->profile, old) &&
	       strcmp(old->inputs, build->record.inputs) == 0 &&
	       has_size(result->kernel, old->kernel_size) &&
	       has_size(result->initrd, old->initrd_size);
}

/* --- reading --- */

static int check_kernel(const struct build *build, const char *path, struct pv_err *err)
{
	switch (pv_kernel_sniff(build->kernel.data, build->kernel.len)) {
	case PV_KERNEL_UNKNOWN:
	case PV_KERNEL_ARM64_IMAGE:
	case PV_KERNEL_PE:
	case PV_KERNEL_SCRIPT:
		return pv_err_set(err, PV_ERR_INPUT, ENOEXEC,
		    "kernel `%s`: this is no x86-64 Linux kernel; give a bzImage (vmlinuz) or a "
		    "vmlinux",
		    path);
	default: return 0;
	}
}

static int read_source(struct build *build, struct pv_err *err)
{
	const char *package = build->options->source.package;
	int status;
	if (package)
		status = pv_image_package_read(package, &build->kernel, &build->modules,
		    build->folder_release, sizeof(build->folder_release), err);
	else
		status = pv_fd_slurp(
		    "kernel", build->kernel_path, PV_KERNEL_FILE_MAX, &build->kernel, err);
	return status ? status : check_kernel(build, package ? package : build->kernel_path, err);
}

static int walk_modules(struct build *build, struct pv_err *err)
{
	if (!build->modules_path[0])
		return 0;
	const char *slash = strrchr(build->modules_path, '/');
	const char *name = slash ? slash + 1 : build->modules_path;
	snprintf(build->folder_release, sizeof(build->folder_release), "%.255s", name);
	return pv_image_modules_walk(&build->modules, build->modules_path, err);
}

/* --- choosing --- */

static void add_missing(struct pv_image_record *record, const char *name)
{
	size_t len = strlen(record->missing);
	snprintf(
	    record->missing + len, sizeof(record->missing) - len, "%s%s", len ? "," : "", name);
}

/* Wants the modules of a list; those that the kernel does not have at all are noted. */
static int want_usual(
    struct build *build, const char *const *names, size_t count, bool load, struct pv_err *err)
{
	bool known = build->modules.count || build->modules.builtin.len;
	int status = 0;
	for (size_t i = 0; i < count && !status && known; i++) {
		status = pv_image_modules_want(&build->modules, names[i], load, err);
		if (status > 0) {
			status = 0;
			if (!pv_image_modules_is_builtin(&build->modules, names[i]))
				add_missing(&build->record, names[i]);
		}
	}
	return status;
}

static int want_extra(struct build *build, struct pv_err *err)
{
	const struct pv_image_options *options = build->options;
	for (size_t i = 0; i < options->extra_module_count; i++) {
		const char *name = options->extra_modules[i];
		int status = pv_image_modules_want(&build->modules, name, true, err);
		if (status > 0 && !pv_image_modules_is_builtin(&build->modules, name))
			return pv_err_set(err, PV_ERR_INPUT, ENOENT,
			    "module `%s`: the kernel has it neither as a module nor built in; "
			    "leave out --module %s",
			    name, name);
		if (status < 0)
			return status;
	}
	return 0;
}

static int choose_modules(struct build *build, struct pv_err *err)
{
	int status = want_usual(
	    build, to_load_first, sizeof(to_load_first) / sizeof(to_load_first[0]), true, err);
	build->modules.first_count = build->modules.order_count;
	if (!status)
		status =
		    want_usual(build, to_load, sizeof(to_load) / sizeof(to_load[0]), true, err);
	if (!status)
		status = want_extra(build, err);
	if (!status)
		status = want_usual(
		    build, to_include, sizeof(to_include) / sizeof(to_include[0]), false, err);
	for (size_t i = 0; i < build->modules.order_count && !status; i++) {
		bool load = build->modules.items[build->modules.order[i]].load;
		build->record.loaded += load;
		build->record.included += !load;
	}
	return status;
}

/* --- the kernel's release --- */

static bool is_release(const char *text)
{
	size_t len =
	    strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+~-");
	return len > 0 && len < PV_IMAGE_RELEASE_MAX && !text[len] && text[0] != '.' &&
	       text[0] != '-';
}

/* The first word of the version text of a bzImage (Documentation/arch/x86/boot.rst,
 * kernel_version); false when there is none. */
static bool kernel_release(const struct pv_bytes *kernel, char out[PV_IMAGE_RELEASE_MAX])
{
	if (pv_kernel_sniff(kernel->data, kernel->len) != PV_KERNEL_BZIMAGE || kernel->len < 0x210)
		return false;
	size_t at = pv_le16(kernel->data + 0x20e) + 0x200u, len = 0;
	while (len < PV_IMAGE_RELEASE_MAX - 1 && at + len < kernel->len && kernel->data[at + len] &&
	       kernel->data[at + len] != ' ')
		len++;
	if (at == 0x200 || at >= kernel->len)
		return false;
	memcpy(out, kernel->data + at, len);
	out[len] = '\0';
	return is_release(out);
}

/* What `uname -r` will say in the guest: modprobe looks for its folder by that name. */
static int find_release(struct build *build, struct pv_err *err)
{
	char *release = build->record.release, built_for[256] = "";
	bool of_modules = pv_image_modules_release(&build->modules, built_for, sizeof(built_for)) &&
			  is_release(built_for);
	bool of_kernel = kernel_release(&build->kernel, release);
	if (of_kernel && of_modules && strcmp(release, built_for) != 0)
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "the modules are for release `%s`, the kernel is `%s`; give the modules of "
		    "this kernel",
		    built_for, release);
	if (of_kernel)
		return 0;
	release[0] = '\0';
	const char *next = of_modules		  ? built_for
			   : build->modules.count ? build->folder_release
						  : "";
	if (is_release(next))
		memcpy(release, next, strlen(next) + 1);
	else if (build->modules.count)
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "cannot tell the kernel's release from the modules folder `%s`; give "
		    ".../lib/modules/<release>",
		    build->folder_release);
	return 0;
}

/* --- the whole --- */

static char *path_in(const char *folder, const char *name)
{
	char *path = NULL;
	return asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : path;
}

static int fill_result(
    struct pv_image_result *result, const struct pv_image_record *record, struct pv_err *err)
{
	result->modules_loaded = record->loaded;
	result->modules_included = record->included;
	result->release = strdup(record->release);
	result->missing = strdup(record->missing);
	return result->release && result->missing ? 0 : pv_err_nomem(err, "image");
}

static int compose(struct build *build, struct pv_err *err)
{
	int status = read_source(build, err);
	if (!status)
		status = choose_modules(build, err);
	if (!status)
		status = find_release(build, err);
	if (!status)
		status = pv_image_root_write(
		    &build->initrd, build->busybox, build->record.release, &build->modules, err);
	if (status)
		return status;
	build->record.kernel_size = build->kernel.len;
	build->record.initrd_size = build->initrd.len;
	if (pv_image_profile_write(&build->profile, build->options->name, build->origin,
		build->options->cmdline, &build->record))
		return pv_err_nomem(err, "profile");
	return 0;
}

static int write_files(
    const struct build *build, const struct pv_image_result *result, struct pv_err *err)
{
	int status = pv_fd_make_dirs(build->options->out_dir, err);
	if (!status)
		status = pv_fd_replace_file(
		    result->kernel, build->kernel.data, build->kernel.len, 0644, err);
	if (!status)
		status = pv_fd_replace_file(
		    result->initrd, build->initrd.data, build->initrd.len, 0644, err);
	if (!status)
		status = pv_fd_replace_file(
		    result->profile, build->profile.data, build->profile.len, 0644, err);
	return status;
}

static int check_options(const struct pv_image_options *options, struct pv_err *err)
{
	if (!*options->name || options->name[0] == '.' || strpbrk(options->name, "/\"\\`\n\t "))
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "`%s` is no name for a guest; give one like `linux`", options->name);
	if (options->cmdline && !options->cmdline[strspn(options->cmdline, " ")])
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "the command line is empty; give at least `console=ttyS0`");
	return 0;
}

static int run(struct build *build, struct pv_image_result *result, struct pv_err *err)
{
	const struct pv_image_options *options = build->options;
	struct pv_image_record old;
	int status = check_options(options, err);
	if (!status)
		status = locate(build, err);
	if (!status)
		status = pv_image_busybox_find(
		    options->busybox, build->busybox, sizeof(build->busybox), err);
	if (!status)
		status = walk_modules(build, err);
	if (!status)
		status = hash_inputs(build, err);
	if (status)
		return status;
	result->kernel = path_in(options->out_dir, PV_IMAGE_KERNEL);
	result->initrd = path_in(options->out_dir, PV_IMAGE_INITRD);
	result->profile = path_in(options->out_dir, PV_IMAGE_PROFILE);
	if (!result->kernel || !result->initrd || !result->profile)
		return pv_err_nomem(err, "image");
	result->unchanged = is_current(build, result, &old);
	if (result->unchanged)
		return fill_result(result, &old, err);
	status = compose(build, err);
	if (!status)
		status = fill_result(result, &build->record, err);
	return status ? status : write_files(build, result, err);
}

int pv_image_build(
    const struct pv_image_options *options, struct pv_image_result *result, struct pv_err *err)
{
	struct build *build = calloc(1, sizeof(*build));
	*result = (struct pv_image_result){0};
	if (!build)
		return pv_err_nomem(err, "image");
	*build = (struct build){.options = options, .modules = PV_IMAGE_MODULES_INIT};
	int status = run(build, result, err);
	pv_bytes_finish(&build->kernel);
	pv_bytes_finish(&build->initrd);
	pv_bytes_finish(&build->profile);
	pv_image_modules_finish(&build->modules);
	free(build);
	if (status)
		pv_image_result_finish(result);
	return status;
}

void pv_image_result_finish(struct pv_image_result *result)
{
	free(result->kernel);
	free(result->initrd);
	free(result->profile);
	free(result->release);
	free(result->missing);
	*result = (struct pv_image_result){0};
}
