/*
 * What a hostile guest can send as a tree of files: bytes into the builder, which works in an empty
 * directory of its own. The first byte of the input chooses the pieces in which the rest comes.
 * Whatever comes, the directory beside it keeps its one file as it was.
 */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/proto/tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
	if (!condition)
		abort();
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *at)
{
	chmod(path, 0700);
	return remove(path);
}

static int open_one(const char *path, const struct stat *info, int type, struct FTW *at)
{
	return type == FTW_DNR || type == FTW_D ? chmod(path, 0700) : 0;
}

/* The only neighbour of the tree, with its only file. */
static void check_outside(const char *folder)
{
	char path[100], text[8] = "";
	struct stat info;
	int entries = 0;
	snprintf(path, sizeof(path), "%s/outside/victim", folder);
	int fd = open(path, O_RDONLY | O_NOFOLLOW);
	require(fd >= 0 && read(fd, text, sizeof(text)) == 4 && memcmp(text, "good", 4) == 0);
	require(fstat(fd, &info) == 0 && info.st_nlink == 1);
	close(fd);
	DIR *all = opendir(folder);
	while (readdir(all))
		entries++;
	closedir(all);
	require(entries <= 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* A sparse file of any size is no harm, real bytes are few. */
	const struct rlimit limit = {1 << 20, 1 << 20};
	char folder[] = "/tmp/fuzz_tree.XXXXXX", path[100];
	setrlimit(RLIMIT_FSIZE, &limit);
	if (size < 1 || !mkdtemp(folder))
		return 0;
	snprintf(path, sizeof(path), "%s/outside", folder);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/outside/victim", folder);
	int fd = open(path, O_WRONLY | O_CREAT, 0600);
	require(write(fd, "good", 4) == 4);
	close(fd);
	snprintf(path, sizeof(path), "%s/in", folder);
	struct pv_tree_build *build = pv_tree_build_create(path, data[0] & 1, 0777);
	const size_t piece = 1 + data[0] / 2;
	int status = 0;
	for (size_t at = 1; build && at < size && status == 0; at += piece)
		status =
		    pv_tree_build_take(build, data + at, size - at < piece ? size - at : piece);
	if (build && status == 0)
		status = pv_tree_build_end(build);
	pv_tree_build_destroy(build);
	check_outside(folder);
	nftw(folder, open_one, 8, FTW_PHYS);
	nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	return 0;
}
