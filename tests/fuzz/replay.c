/*
 * Replays a fuzz corpus in an ordinary build: every file of the folder given as argument goes once through the target, so that an input that
 * once broke something breaks the build when it does so again. The fuzz preset links libFuzzer's main instead of this file.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Runs one file; returns 0, or 1 when it cannot be read. */
static int replay_file(const char *folder, const char *name)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *file = fopen(path, "rb");
	if (!file)
		return 1;
	uint8_t *data = NULL;
	size_t len = 0;
	for (;;) {
		uint8_t *grown = realloc(data, len + 65536);
		if (!grown) {
			free(data);
			fclose(file);
			return 1;
		}
		data = grown;
		size_t got = fread(data + len, 1, 65536, file);
		len += got;
		if (got == 0)
			break;
	}
	fclose(file);
	/* An exact allocation lets the address sanitizer see a read behind the end. */
	uint8_t *exact = realloc(data, len ? len : 1);
	LLVMFuzzerTestOneInput(exact ? exact : data, len);
	free(exact ? exact : data);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: %s CORPUS-FOLDER\n", argv[0]);
		return 2;
	}
	DIR *folder = opendir(argv[1]);
	if (!folder) {
		perror(argv[1]);
		return 1;
	}
	int count = 0, failed = 0;
	for (const struct dirent *entry; (entry = readdir(folder));) {
		if (entry->d_name[0] == '.')
			continue;
		failed += replay_file(argv[1], entry->d_name);
		count++;
	}
	closedir(folder);
	printf("%d inputs replayed, %d unreadable\n", count, failed);
	/* An empty corpus means that the test does not test. */
	return failed || count == 0;
}
