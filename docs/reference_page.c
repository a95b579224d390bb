/*
 * Writes docs/reference.md: every public name of the test language, from the tables that the
 * implementation keeps (lua/reference.h), a section for each type. What a type is stands here.
 *
 * `reference_page FILE` writes the file, `reference_page --check FILE` fails when it is not what
 * would be written, or when a type has no section.
 */
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lua/reference.h"

/* In this form the formatter leaves a table readable. */
#define SECTION(...)        \
	{                   \
		__VA_ARGS__ \
	}

/* In the order of the page: from what every test needs to what few do. */
static const struct section {
	const char *owner;
	const char *text;
} sections[] = {
    SECTION("global", "What every test file finds, besides Lua's own library."),
    SECTION("Test", "`t`, the argument of a test's body."),
    SECTION("Meta", "The table between a test's name and its body."),
    SECTION("Lab", "What holds guests, and other labs. `provium` is one: the file's while the file "
		   "is loaded, the test's own in a test."),
    SECTION("ClaimOptions", "`opts` of `lab:claim`."),
    SECTION("VM", "A guest. The methods that act inside of it are a Worker's, too."),
    SECTION("VmOptions", "`opts` of `lab:vm` and `vm:boot`; what is not said is the profile's."),
    SECTION("RestoreOptions", "`opts` of `vm:restore` and `lab:restore`."),
    SECTION("Snapshot", "What `vm:snapshot` returns."),
    SECTION("LabSnapshot", "What `lab:snapshot` returns."),
    SECTION("RunOptions", "The table form of the arguments of `vm:run` and `vm:run_async`."),
    SECTION("RunResult", "What `vm:run` and `process:wait` return."),
    SECTION("Process", "A program that goes on in the guest: what `vm:run_async` returns."),
    SECTION("File", "An open file of the guest: what `vm:open_file` returns."),
    SECTION("Stat", "What `vm:stat` returns."),
    SECTION("DirEntry", "One element of what `vm:listdir` returns."),
    SECTION("Tail",
	"A stream of bytes from the guest: a growing file, a descriptor, the output of a process."),
    SECTION("Console", "What the guest writes to its console, and can read from it."),
    SECTION("ConsoleStream", "A stream of what the console prints from now on."),
    SECTION("Clock", "The guest's clock."),
    SECTION("AdvanceOptions", "`opts` of `clock:advance`."),
    SECTION(
	"SyscallShape", "The table form of the arguments of `vm:syscall` and `vm:syscall_async`."),
    SECTION("SyscallResult", "What a system call did."),
    SECTION("SyscallHandle", "A system call under way: what `vm:syscall_async` returns."),
    SECTION("IoctlOptions", "`opts` of `vm:ioctl`."),
    SECTION("IoctlResult", "What an ioctl did."),
    SECTION("Batch", "`b`, the argument of the function given to `vm:batch`: collects operations "
		     "that go to the guest in one round trip."),
    SECTION("WorkerOptions", "`opts` of `vm:spawn_worker`."),
    SECTION(
	"Worker", "A second process in the guest, with credentials, descriptors and a thread of "
		  "its own. It has the methods of a VM that act inside of the guest, and these."),
    SECTION("sys", "`provium.sys`: the names of the guest's kernel headers. docs/sys.md has more."),
    SECTION("json", "Reads and writes JSON."),
};

#define SECTIONS (sizeof(sections) / sizeof(sections[0]))

static void write_entry(FILE *out, const struct pv_reference_entry *entry)
{
	/* The signature of a field is its type, or says its name as well. */
	bool names_itself = entry->kind != PV_REFERENCE_OPTION &&
			    (entry->kind != PV_REFERENCE_FIELD || strstr(entry->signature, ": "));
	if (names_itself)
		fprintf(out, "**`%s`**  \n%s\n\n", entry->signature, entry->text);
	else
		fprintf(out, "**`%s`** (%s)  \n%s\n\n", entry->name, entry->signature, entry->text);
}

static void write_section(FILE *out, const struct section *section)
{
	const struct pv_reference_entry *entry;
	fprintf(out, "## %s\n\n%s\n\n", section->owner, section->text);
	for (size_t i = 0; (entry = pv_reference_at(i)) != NULL; i++) {
		if (strcmp(entry->owner, section->owner) == 0)
			write_entry(out, entry);
	}
}

/* Anchors of headings are in small letters. */
static void write_link(FILE *out, const char *before, const char *owner)
{
	fprintf(out, "%s[%s](#", before, owner);
	for (const char *at = owner; *at; at++)
		putc(tolower((unsigned char)*at), out);
	putc(')', out);
}

static void write_page(FILE *out)
{
	fputs("# Reference of the test language\n\n"
	      "Made from `lua/reference_*.c`; change them, not this page. Arguments with a `?` may "
	      "be "
	      "left out, `->` says what is returned.\n\n",
	    out);
	for (size_t i = 0; i < SECTIONS; i++)
		write_link(out, i == 0 ? "" : " · ", sections[i].owner);
	fputs("\n\n", out);
	for (size_t i = 0; i < SECTIONS; i++)
		write_section(out, &sections[i]);
}

/* Every entry must have a section to stand in. */
static bool is_complete(void)
{
	const struct pv_reference_entry *entry;
	for (size_t i = 0; (entry = pv_reference_at(i)) != NULL; i++) {
		size_t at = 0;
		while (at < SECTIONS && strcmp(sections[at].owner, entry->owner) != 0)
			at++;
		if (at == SECTIONS) {
			fprintf(stderr,
			    "docs/reference_page.c has no section `%s`, where %s belongs\n",
			    entry->owner, entry->name);
			return false;
		}
	}
	return true;
}

static bool is_current(const char *path, const char *text, size_t len)
{
	FILE *file = fopen(path, "r");
	size_t at = 0;
	int byte = EOF;
	while (file && (byte = getc(file)) != EOF && at < len && (char)byte == text[at])
		at++;
	bool same = file && at == len && byte == EOF;
	if (file)
		fclose(file);
	if (!same)
		fprintf(
		    stderr, "%s is not what the tables say; build the target `reference`\n", path);
	return same;
}

int main(int argc, char **argv)
{
	char *text = NULL;
	size_t len = 0;
	bool check = argc == 3 && strcmp(argv[1], "--check") == 0;
	if (argc != 2 && !check) {
		fprintf(stderr, "usage: reference_page [--check] FILE\n");
		return 2;
	}
	FILE *page = open_memstream(&text, &len);
	if (!page || !is_complete())
		return 1;
	write_page(page);
	bool done = fclose(page) == 0;
	if (check) {
		done = done && is_current(argv[2], text, len);
	} else {
		FILE *out = fopen(argv[1], "w");
		done = done && out && fwrite(text, 1, len, out) == len;
		done = out && fclose(out) == 0 && done;
		if (!done)
			perror(argv[1]);
	}
	free(text);
	return done ? 0 : 1;
}
