/* Snapshot files: what was written comes back, whatever else is refused in a sentence that names
 * the file, and nothing is lost or left. Needs /dev/kvm. */
#include "vmm/template.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/gmem.h"
#include "base/hash.h"
#include "payload_guest.h"
#include "vmm/machine_private.h"
#include "vmm/template_private.h"

#define HEADER	    4096u
#define HEADER_HASH (HEADER - 64)
#define DATA	    (2u << 20) /* where RAM begins */

/* Counts in memory at 0x9000 and says `.` once. */
PAYLOAD(counter, PRINT(".") "1: incl 0x1000; jmp 1b");

struct fixture {
	struct guest guest; /* first: the payload machine's functions take it */
	char folder[64];
	char path[128];
	struct pv_template *template;
	struct pv_bytes bytes; /* of the file */
};

static int set_up(void **state)
{
	struct guest *guest;
	if (guest_set_up((void **)&guest) < 0)
		return -1;
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	if (!fixture)
		return -1;
	fixture->guest = *guest;
	fixture->guest.config.events_ctx = &fixture->guest;
	free(guest);
	strcpy(fixture->folder, "/tmp/provium-snapshot-XXXXXX");
	if (!mkdtemp(fixture->folder))
		return -1;
	snprintf(fixture->path, sizeof(fixture->path), "%s/a.snap", fixture->folder);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;
	pv_template_unref(fixture->template);
	pv_bytes_finish(&fixture->bytes);
	unlink(fixture->path);
	rmdir(fixture->folder);
	void *guest = &fixture->guest;
	return guest_tear_down(&guest);
}

/* A template with something in its memory, and its file. */
static void make_file(struct fixture *fixture)
{
	struct guest *guest = &fixture->guest;
	struct pv_err err = PV_ERR_INIT;
	guest_start(guest, counter, counter_end);
	guest_wait_console(guest, ".");
	assert_int_equal(pv_machine_pause(guest->machine, &err), 0);
	const struct pv_gmem *mem = pv_machine_memory(guest->machine);
	for (uint32_t at = 0x100000; at < 0x180000; at += 4096)
		pv_gmem_write(mem, at, &at, sizeof(at));
	if (pv_machine_freeze(guest->machine, &fixture->template, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(pv_template_set_owner(fixture->template, "owner's", 7, &err), 0);
	if (pv_template_write(fixture->template, fixture->path, NULL, &err) < 0)
		fail_msg("%s", err.text);
}

static void read_file(struct fixture *fixture)
{
	FILE *file = fopen(fixture->path, "rb");
	struct stat status;
	assert_non_null(file);
	assert_int_equal(fstat(fileno(file), &status), 0);
	assert_int_equal(pv_bytes_reserve(&fixture->bytes, (size_t)status.st_size), 0);
	fixture->bytes.len = fread(fixture->bytes.data, 1, (size_t)status.st_size, file);
	assert_int_equal(fixture->bytes.len, status.st_size);
	fclose(file);
	assert_int_equal(chmod(fixture->path, 0600), 0);
}

static struct pv_template *open_file(struct fixture *fixture, bool verify)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_template *template = NULL;
	if (pv_template_open(&template, fixture->path, verify, &err) < 0)
		fail_msg("%s", err.text);
	return template;
}

static void refuse(struct fixture *fixture, bool verify, const char *text)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_template *template = NULL;
	assert_true(pv_template_open(&template, fixture->path, verify, &err) < 0);
	assert_null(template);
	assert_non_null(strstr(err.text, fixture->path));
	if (!strstr(err.text, text))
		fail_msg("`%s` does not say `%s`", err.text, text);
}

static void poke(struct fixture *fixture, size_t at, const void *data, size_t len)
{
	int fd = open(fixture->path, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, data, len, (off_t)at), len);
	close(fd);
}

static struct pv_machine *restore(
    struct fixture *fixture, struct pv_template *template, struct pv_err *err)
{
	struct pv_machine *machine = NULL;
	const struct pv_machine_restore options = {.boot = &fixture->guest.config};
	pv_machine_restore(
	    &machine, &fixture->guest.kvm, fixture->guest.loop, template, &options, err);
	return machine;
}

static unsigned count_entries(const char *path)
{
	DIR *dir = opendir(path);
	assert_non_null(dir);
	unsigned count = 0;
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static void test_what_is_written_comes_back(void **state)
{
	struct fixture *fixture = *state;
	struct pv_err err = PV_ERR_INIT;
	make_file(fixture);
	const uint32_t frozen = machine_peek(fixture->guest.machine, 0x9000);
	struct pv_template *opened = open_file(fixture, true);
	assert_int_equal(opened->state.len, fixture->template->state.len);
	assert_memory_equal(opened->state.data, fixture->template->state.data, opened->state.len);
	size_t len;
	assert_memory_equal(pv_template_owner(opened, &len), "owner's", 7);
	assert_int_equal(len, 7);
	struct stat status;
	assert_int_equal(stat(fixture->path, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0400);
	/* Sparse: 128 pages with data, some others, the state. */
	assert_true(status.st_blocks * 512 < 2 << 20);
	assert_true(status.st_size > 16 << 20);

	struct pv_machine *machine = restore(fixture, opened, &err);
	if (!machine)
		fail_msg("%s", err.text);
	assert_int_equal(machine_peek(machine, 0x9000), frozen);
	for (uint32_t at = 0x100000; at < 0x180000; at += 4096)
		assert_int_equal(machine_peek(machine, at), at);
	/* A template of it, in memory again, and a file of that. */
	struct pv_template *again = NULL;
	assert_int_equal(pv_machine_freeze(machine, &again, &err), 0);
	assert_int_equal(again->state.len, opened->state.len);
	assert_memory_equal(again->state.data, opened->state.data, opened->state.len);
	assert_int_equal(pv_template_write(again, fixture->path, NULL, &err), 0);
	pv_template_unref(again);
	again = open_file(fixture, true);
	assert_memory_equal(again->state.data, opened->state.data, opened->state.len);
	assert_int_equal(pv_machine_resume(machine, &err), 0);
	machine_wait_above(machine, frozen + 100);
	pv_machine_destroy(machine);
	pv_template_unref(again);
	pv_template_unref(opened);
}

static void test_cut_files_are_refused(void **state)
{
	struct fixture *fixture = *state;
	make_file(fixture);
	read_file(fixture);
	for (size_t size = fixture->bytes.len & ~(size_t)4095; size > HEADER; size -= 4096) {
		assert_int_equal(truncate(fixture->path, (off_t)size), 0);
		refuse(fixture, false, "it is cut short, ");
	}
	assert_int_equal(truncate(fixture->path, HEADER), 0);
	refuse(fixture, false, "it is cut short, ");
	assert_int_equal(truncate(fixture->path, 100), 0);
	refuse(fixture, false, "it is cut short within its header");
	assert_int_equal(truncate(fixture->path, 7), 0);
	refuse(fixture, false, "this is no snapshot of a machine");
	assert_int_equal(truncate(fixture->path, 0), 0);
	refuse(fixture, true, "this is no snapshot of a machine");
}

static void test_every_byte_of_the_header_counts(void **state)
{
	struct fixture *fixture = *state;
	make_file(fixture);
	read_file(fixture);
	for (size_t i = 0; i < HEADER; i++) {
		const uint8_t flipped = fixture->bytes.data[i] ^ (uint8_t)(1u << i % 8);
		poke(fixture, i, &flipped, 1);
		refuse(fixture, false, i < 8 ? "this is no snapshot" : "its header is damaged");
		poke(fixture, i, &fixture->bytes.data[i], 1);
	}
	pv_template_unref(open_file(fixture, true));
}

static void test_damaged_state_and_memory_are_refused(void **state)
{
	struct fixture *fixture = *state;
	make_file(fixture);
	read_file(fixture);
	const size_t begin = DATA + (16 << 20);
	for (size_t at = begin; at < fixture->bytes.len;
	     at += 1 + (fixture->bytes.len - begin) / 97) {
		const uint8_t flipped = fixture->bytes.data[at] ^ 0x10;
		poke(fixture, at, &flipped, 1);
		refuse(fixture, false, "its state is damaged");
		poke(fixture, at, &fixture->bytes.data[at], 1);
	}
	/* In data, and in a hole. */
	static const size_t places[] = {DATA + 0x100003, DATA + 0x17f000, DATA + 0x800000};
	for (unsigned i = 0; i < 3; i++) {
		const uint8_t flipped = fixture->bytes.data[places[i]] ^ 1;
		poke(fixture, places[i], &flipped, 1);
		pv_template_unref(open_file(fixture, false));
		refuse(fixture, true, "its memory is damaged at offset 0x");
		poke(fixture, places[i], &fixture->bytes.data[places[i]], 1);
	}
	pv_template_unref(open_file(fixture, true));
	poke(fixture, fixture->bytes.len, "x", 1);
	refuse(fixture, false, "something follows where it should end");
}

/* Puts the right checksum on a changed header. */
static void poke_header(struct fixture *fixture, size_t at, const void *data, size_t len)
{
	char text[PV_HASH_TEXT];
	uint8_t header[HEADER];
	memcpy(header, fixture->bytes.data, HEADER);
	memcpy(header + at, data, len);
	memcpy(header + HEADER_HASH, pv_hash_of(header, HEADER_HASH, text), 64);
	poke(fixture, 0, header, HEADER);
}

static void test_lies_with_a_right_checksum_are_refused(void **state)
{
	struct fixture *fixture = *state;
	make_file(fixture);
	read_file(fixture);
	poke_header(fixture, 8, "\x04", 1);
	refuse(fixture, false, "its format has version 4, and this provium reads versions 2 to 3");
	/* Its RAM would begin behind the header. */
	poke_header(fixture, 8, "\x02", 1);
	refuse(fixture, false, "its header contradicts itself");
	poke_header(fixture, 16, "aarch64", 8);
	refuse(fixture, false, "it is of a guest for `aarch64`, and this host runs `x86_64`");
	static const uint64_t values[] = {0, 1, 4095, 4096, 8192, 16u << 20, (16u << 20) + 4096,
	    UINT64_C(1) << 32, UINT64_C(1) << 46, UINT64_C(1) << 63, UINT64_MAX - 4095, UINT64_MAX};
	for (size_t field = 32; field < 80; field += 8) {
		for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
			if (memcmp(&values[i], fixture->bytes.data + field, 8) == 0)
				continue;
			poke_header(fixture, field, &values[i], 8);
			refuse(fixture, true, "its header contradicts itself");
		}
	}
	/* Less RAM than the machine says, consistently. */
	uint64_t sizes[6];
	memcpy(sizes, fixture->bytes.data + 32, sizeof(sizes));
	sizes[0] -= 4096;
	sizes[1] -= 4096;
	sizes[3] -= 4096;
	sizes[4] -= 4096;
	poke_header(fixture, 32, sizes, sizeof(sizes));
	assert_int_equal(truncate(fixture->path, (off_t)sizes[0]), 0);
	poke(fixture, sizes[4], fixture->bytes.data + DATA + (16 << 20), sizes[5]);
	refuse(fixture, false, "it has 16777216 bytes of RAM, and the image has 16773120");
}

static void test_foreign_files_are_refused(void **state)
{
	struct fixture *fixture = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_template *template = NULL;
	refuse(fixture, false, "No such file");
	assert_true(pv_template_open(&template, fixture->folder, false, &err) < 0);
	assert_non_null(strstr(err.text, "not a regular file"));
	assert_int_equal(mkfifo(fixture->path, 0600), 0);
	refuse(fixture, false, "not a regular file");
	unlink(fixture->path);
	FILE *file = fopen(fixture->path, "w");
	assert_non_null(file);
	fprintf(file, "print('hello')\n");
	fclose(file);
	refuse(fixture, false, "this is no snapshot of a machine");
}

static void test_machines_outlive_their_file(void **state)
{
	struct fixture *fixture = *state;
	struct pv_err err = PV_ERR_INIT;
	make_file(fixture);
	struct pv_template *opened = open_file(fixture, false);
	const uint32_t frozen = machine_peek(fixture->guest.machine, 0x9000);
	struct pv_machine *machine = restore(fixture, opened, &err);
	assert_non_null(machine);
	assert_int_equal(pv_machine_resume(machine, &err), 0);
	/* Replaced by another guest's, then deleted. */
	pv_gmem_zero(pv_machine_memory(fixture->guest.machine), 0x100000, 0x80000);
	struct pv_template *other = NULL;
	assert_int_equal(pv_machine_freeze(fixture->guest.machine, &other, &err), 0);
	assert_int_equal(pv_template_write(other, fixture->path, NULL, &err), 0);
	pv_template_unref(other);
	assert_int_equal(unlink(fixture->path), 0);
	machine_wait_above(machine, frozen + 100);
	for (uint32_t at = 0x100000; at < 0x180000; at += 4096)
		assert_int_equal(machine_peek(machine, at), at);
	struct pv_machine *late = restore(fixture, opened, &err);
	assert_non_null(late);
	pv_template_unref(opened);
	assert_int_equal(machine_peek(late, 0x17f000), 0x17f000);
	pv_machine_destroy(late);
	pv_machine_destroy(machine);
}

static void test_a_file_that_was_cut_since_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct pv_err err = PV_ERR_INIT;
	make_file(fixture);
	struct pv_template *opened = open_file(fixture, false);
	assert_int_equal(chmod(fixture->path, 0600), 0);
	assert_int_equal(truncate(fixture->path, 1 << 20), 0);
	assert_null(restore(fixture, opened, &err));
	assert_non_null(strstr(err.text, "it was cut short to 1048576 bytes since it was opened"));
	assert_non_null(strstr(err.text, fixture->path));
	pv_template_unref(opened);
}

static void test_a_full_disk_leaves_what_was_there(void **state)
{
	struct fixture *fixture = *state;
	struct pv_err err = PV_ERR_INIT;
	make_file(fixture);
	char folder[80], path[96];
	snprintf(folder, sizeof(folder), "%s/small", fixture->folder);
	snprintf(path, sizeof(path), "%s/a.snap", folder);
	assert_int_equal(mkdir(folder, 0700), 0);
	if (mount("none", folder, "tmpfs", 0, "size=256k") < 0) {
		rmdir(folder);
		print_message("skipped: no tmpfs can be mounted here: %s\n", strerror(errno));
		skip();
	}
	FILE *old = fopen(path, "w");
	assert_non_null(old);
	fputs("old", old);
	fclose(old);
	int code = pv_template_write(fixture->template, path, NULL, &err);
	unsigned entries = count_entries(folder);
	struct stat status;
	assert_int_equal(stat(path, &status), 0);
	umount(folder);
	rmdir(folder);
	assert_int_equal(code, -ENOSPC);
	assert_non_null(strstr(err.text, "cannot be written: No space left on device"));
	assert_int_equal(entries, 3);
	assert_int_equal(status.st_size, 3);
	assert_int_equal(
	    pv_template_write(fixture->template, "/nonexistent/a.snap", NULL, &err), -ENOENT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_what_is_written_comes_back),
	    TEST(test_cut_files_are_refused),
	    TEST(test_every_byte_of_the_header_counts),
	    TEST(test_damaged_state_and_memory_are_refused),
	    TEST(test_lies_with_a_right_checksum_are_refused),
	    TEST(test_foreign_files_are_refused),
	    TEST(test_machines_outlive_their_file),
	    TEST(test_a_file_that_was_cut_since_is_refused),
	    TEST(test_a_full_disk_leaves_what_was_there),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
