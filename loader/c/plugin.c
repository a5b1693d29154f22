/* The process of one plugin. */
#define _GNU_SOURCE
#include "../probe/open_one.c"

#include <fcntl.h>

#include "loader.h"

/* Takes what is standard input now as the channel, puts `/dev/null` in its place, and opens the plugin as the contract says.
 * What it did is told already when this comes back. */
void run_open_one(struct open_options *options) {
  int parent = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (parent < 0 || null < 0 || dup2(null, STDIN_FILENO) < 0)
    fail_internal("failed to take the channel to the parent: %s", error_words(errno));
  close(null);
  char *plugin = options->plugins[options->plugins_count - 1];
  options->contract.plugin = as_path(plugin);
  open_one(&options->contract, getpid(), parent);
}
