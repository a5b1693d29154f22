/* What a plugin can leave where the next one would find it: files in directories that everybody may write to, and what
 * System V's calls make, which lasts longer than any process. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "loader.h"

/* Directories in directories are followed so deep: each holds a descriptor. */
#define DEPTH_LIMIT_COUNT 512

static int is_dot(const char *name) { return strcmp(name, ".") == 0 || strcmp(name, "..") == 0; }

static int is_empty(const char *path) {
  DIR *directory = opendir(path);
  /* An engine may have no such directory; what cannot be looked at is not empty. */
  if (!directory) return errno == ENOENT;
  struct dirent *entry;
  while ((entry = readdir(directory)) && is_dot(entry->d_name)) continue;
  closedir(directory);
  return !entry;
}

/* Whether a table of this IPC namespace has a line below its headings (proc(5)). */
static int has_entries(const char *table) {
  FILE *file = fopen(table, "re");
  if (!file) return 0;
  int lines = 0;
  for (int byte; (byte = fgetc(file)) != EOF && lines < 2;)
    if (byte == '\n') lines++;
  fclose(file);
  return lines > 1;
}

/* What is still there, for people; null when the next plugin finds nothing. Without directories nothing is looked at. */
char *scratch_remains(char *const *directories, size_t count) {
  static const char *const tables[] = {"/proc/sysvipc/msg", "/proc/sysvipc/sem", "/proc/sysvipc/shm"};
  struct text found = {0};
  if (count == 0) return NULL;
  for (size_t index = 0; index < count; index++)
    if (!is_empty(directories[index])) text_print(&found, "%sfiles in %s", found.length ? ", " : "", directories[index]);
  for (size_t index = 0; index < sizeof tables / sizeof *tables; index++)
    if (has_entries(tables[index])) text_print(&found, "%sobjects in %s", found.length ? ", " : "", tables[index]);
  return found.bytes;
}

/* Removes all that is in a directory; links are removed, and not followed. */
static void clear(int parent, const char *name, int flags, int depth) {
  int file = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags);
  DIR *directory = file < 0 || depth == 0 ? NULL : fdopendir(file);
  if (!directory) {
    if (file >= 0) close(file);
    return;
  }
  for (struct dirent *entry; (entry = readdir(directory));) {
    if (is_dot(entry->d_name) || unlinkat(file, entry->d_name, 0) == 0) continue;
    clear(file, entry->d_name, O_NOFOLLOW, depth - 1);
    unlinkat(file, entry->d_name, AT_REMOVEDIR);
  }
  closedir(directory);
}

/* As far as this process may: it is the one that made it. What stays is seen when it is looked for. */
void scratch_clear(char *const *directories, size_t count) {
  for (size_t index = 0; index < count; index++) clear(AT_FDCWD, directories[index], 0, DEPTH_LIMIT_COUNT);
}
