/* Opens plugins and drives programs inside a runtime image, and reports what it saw as JSON lines: the loader for `dlopen`
 * where there is a C compiler and no cargo. It observes; whoever reads the lines judges. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __GLIBC__
#include <gnu/libc-version.h>
#endif

#include "words.h"

static const char HELP[] =
    "Opens plugins and drives programs, and reports what it saw as JSON lines.\n"
    "\n"
    "usage: lockstep-loader open [FLAG…] [--] PLUGIN…\n"
    "       lockstep-loader drive [FLAG…] -- COMMAND [ARGUMENT…]\n"
    "       lockstep-loader steps [NUMBER WORD…]…\n"
    "       lockstep-loader version\n"
    "\n"
    "both:   --timeout-ms N  --output-limit-bytes N  --env NAME=VALUE…  --user UID:GID\n"
    "\n"
    "open:   --flags now|lazy  --scope local|global  --keep-open  --scratch DIRECTORY…  --symbol NAME…\n"
    "        --call SYMBOL [--arg-string TEXT | --arg-integer N]… [--returns string|integer|int32|none]…\n"
    "        --within PROGRAM --probe FILE  --after PLUGIN…\n"
    "\n"
    "drive:  --ready-http URL | --ready-tcp PORT | --ready-stdout TEXT\n"
    "        --ready-timeout-ms N  --request-timeout-ms N  --stop-signal NAME  --stop-timeout-ms N\n"
    "        --request METHOD URL [--header 'NAME: VALUE']… [--body TEXT]…  --client NUMBER WORD…\n"
    "        --directory DIRECTORY  --stdin TEXT  --status N\n";

static void print_version(void) {
  struct text out = {0};
  event_begin(&out, "version");
  text_put(&out, ",\"loader\":\"dlopen\",\"version\":\"" VERSION "\"");
#ifdef __GLIBC__
  text_print(&out, ",\"libc\":\"glibc\",\"libc_version\":\"%s\",\"go\":null", gnu_get_libc_version());
#else
  /* There is no other that does not say what it is. */
  text_put(&out, ",\"libc\":\"musl\",\"libc_version\":null,\"go\":null");
#endif
  event_print(&out);
}

/* Tells how it ended, and ends. */
static int finish(const char *remains) {
  if (interrupt_signal) {
    struct text out = {0};
    event_begin(&out, "interrupted");
    text_print(&out, ",\"signal\":%d,\"signal_name\":\"%s\"", interrupt_signal, signal_name(interrupt_signal));
    event_print(&out);
    return STATUS_SIGNAL_BASE + interrupt_signal;
  }
  event_message(remains ? "unclean" : "end", remains);
  return 0;
}

int main(int count, char **given) {
  char *command = count > 1 ? given[1] : "";
  char **words = given + (count > 1 ? 2 : count);
  count = count > 1 ? count - 2 : 0;
  if (strcmp(command, "open") == 0) {
    struct open_options options = parse_open(count, words);
    supervise(&options.common);
    return finish(run_open(&options));
  }
  if (strcmp(command, "drive") == 0) {
    struct drive_options options = parse_drive(count, words);
    supervise(&options.common);
    run_drive(&options);
    return finish(NULL);
  }
  if (strcmp(command, "steps") == 0) {
    struct steps steps = parse_steps(count, words);
    const struct common *other = &steps.steps[0].common;
    for (size_t index = 0; index < steps.count; index++)
      if (steps.steps[index].common.has_user) other = &steps.steps[index].common;
    supervise(other);
    run_steps(&steps);
    return finish(NULL);
  }
  if (strcmp(command, "open-one") == 0) {
    struct open_options options = parse_open(count, words);
    run_open_one(&options);
  } else if (strcmp(command, "clear") == 0) {
    scratch_clear(words, (size_t)count);
  } else if (strcmp(command, "version") == 0 || strcmp(command, "--version") == 0) {
    print_version();
  } else if (strcmp(command, "help") == 0 || strcmp(command, "--help") == 0 || strcmp(command, "-h") == 0) {
    fputs(HELP, stdout);
  } else if (*command) {
    fail_usage(HINT_HELP, "unknown command `%s`", command);
  } else {
    fail_usage(HINT_HELP, "no command given");
  }
  return 0;
}
