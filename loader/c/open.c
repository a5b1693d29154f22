/* `open`: each plugin in a process of its own, and what became of it. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "loader.h"

/* What the process of a plugin may tell, all records together. */
#define CHANNEL_LIMIT_BYTES (4 * 1024 * 1024)
/* How long it may take to remove the files that a plugin has left. */
#define CLEAR_TIMEOUT_MILLISECONDS 5000
/* How long the process of a plugin may take to end after the loader was asked to. */
#define INTERRUPT_TIMEOUT_MILLISECONDS 1000
#define QUESTION_VARIABLE "LOCKSTEP_PROBE_QUESTION="
#define PRELOAD_VARIABLE "LD_PRELOAD="

/* What became of a plugin. */
struct verdict {
  const char *outcome, *phase, *symbol;
  char *message;
};

/* What became of a plugin, from what its process told and how it ended. What is going on until something is told is the first
 * phase. */
static struct verdict judge(const struct testimony *told, const struct running *running, int is_late, const char *first) {
  struct verdict verdict = {"loaded", NULL, NULL, told->not_closed};
  for (size_t index = told->calls_count; index-- > 0;)
    if (told->calls[index].problem)
      verdict = (struct verdict){"call-failed", "call", told->calls[index].call->symbol, told->calls[index].problem};
  if (told->missing_count > 0)
    verdict = (struct verdict){"symbol-missing", "symbol", told->missing[0], told->first_missing_words};
  if (told->refusal)
    verdict = (struct verdict){"not-loadable", told->refused_before ? "before" : "open", told->refused_before, told->refusal};
  const char *at_work = told->phase ? told->phase : first;
  int status = running->wait_status, has_exited = !is_late && WIFEXITED(status);
  if (has_exited && WEXITSTATUS(status) == 0 && told->is_whole) return verdict;
  /* The loader's refusal says more than that the process did not survive it. */
  verdict.outcome = is_late ? "timed-out" : has_exited ? "exited" : "crashed";
  verdict.phase = at_work, verdict.symbol = told->symbol;
  if (has_exited && WEXITSTATUS(status) == 0 && told->is_broken)
    verdict.message = text_of("its process told what the loader does not tell there");
  else if (has_exited && WEXITSTATUS(status) == CHANNEL_LOST_STATUS && !told->is_whole)
    verdict.message = text_of("the loader ended: the %s closed the channel on which it reports",
                              strcmp(at_work, "start") == 0 ? "host" : "plugin");
  return verdict;
}

static void print_calls(struct text *out, const struct testimony *told) {
  text_put(out, ",\"calls\":[");
  for (size_t index = 0; index < told->calls_count; index++) {
    const struct returned *returned = &told->calls[index];
    int lossy = 0;
    text_put(out, index > 0 ? ",{\"symbol\":" : "{\"symbol\":");
    json_string(out, returned->call->symbol);
    text_print(out, ",\"type\":\"%s\",\"returned\":", returned->call->returns);
    if (returned->kind == 's') lossy = json_bytes(out, returned->value, returned->value_length);
    else text_put(out, returned->kind == 'i' ? returned->value : "null");
    text_print(out, ",\"lossy\":%s,\"problem\":", lossy ? "true" : "false");
    json_string(out, returned->problem);
    text_put(out, "}");
  }
  text_put(out, "]");
}

static void print_plugin(const char *path, const struct verdict *verdict, const struct testimony *told,
                         const struct running *running, int is_known, size_t leftovers, int64_t elapsed_ms) {
  struct text out = {0};
  event_begin(&out, "plugin");
  text_put(&out, ",\"path\":");
  json_string(&out, path);
  text_print(&out, ",\"outcome\":\"%s\",\"phase\":", verdict->outcome);
  json_string(&out, verdict->phase);
  text_put(&out, ",\"symbol\":");
  json_string(&out, verdict->symbol);
  text_put(&out, ",\"message\":");
  json_string(&out, verdict->message);
  text_put(&out, ",\"missing\":");
  json_strings(&out, told->missing, told->missing_count);
  event_ending(&out, running, is_known);
  print_calls(&out, told);
  text_print(&out, ",\"leftover_processes\":%zu", leftovers);
  event_outputs(&out, elapsed_ms, running);
  event_print(&out);
}

/* An item of the question to the probe: a letter, the number of bytes, a colon, the bytes, and a comma. */
static void ask(struct text *question, char letter, const char *value) {
  text_print(question, "%c%zu:%s,", letter, strlen(value), value);
}

static void ask_call(struct text *question, const struct call *call) {
  ask(question, 'c', call->symbol);
  ask(question, 'r', call->returns);
  for (size_t index = 0; index < call->words_count; index++) {
    char *number = text_of("%lld", (long long)(int64_t)call->words[index]);
    ask(question, call->is_text[index] ? 't' : 'i', call->is_text[index] ? (const char *)call->words[index] : number);
    free(number);
  }
}

/* The variables that make the host's process ask the probe: what is preloaded besides stays behind it. */
static char **probe_variables(const struct open_options *options, char *plugin) {
  const struct contract *contract = &options->contract;
  const char *preloaded = getenv("LD_PRELOAD");
  for (size_t index = 0; index < options->common.environment_count; index++)
    if (strncmp(options->common.environment[index], PRELOAD_VARIABLE, sizeof PRELOAD_VARIABLE - 1) == 0)
      preloaded = options->common.environment[index] + sizeof PRELOAD_VARIABLE - 1;
  struct text question = {0};
  text_put(&question, QUESTION_VARIABLE);
  ask(&question, 'w', options->within);
  if (preloaded) ask(&question, 'e', text_of(PRELOAD_VARIABLE "%s", preloaded));
  if (contract->is_lazy) ask(&question, 'l', "");
  if (contract->is_global) ask(&question, 'g', "");
  if (contract->is_kept_open) ask(&question, 'k', "");
  for (size_t index = 0; index < contract->before_count; index++) ask(&question, 'b', contract->before[index]);
  ask(&question, 'p', as_path(plugin));
  for (size_t index = 0; index < contract->symbols_count; index++) ask(&question, 's', contract->symbols[index]);
  for (size_t index = 0; index < contract->calls_count; index++) ask_call(&question, &contract->calls[index]);
  int has_others = preloaded && *preloaded;
  char **variables = need(calloc(3, sizeof(char *)));
  variables[0] = question.bytes;
  variables[1] = text_of(PRELOAD_VARIABLE "%s%s%s", options->probe, has_others ? ":" : "", has_others ? preloaded : "");
  return variables;
}

/* This program again, to be the process that opens the plugin; or the host. */
static struct start plugin_start(const struct open_options *options, char *plugin) {
  struct start start = {.common = &options->common, .has_channel = 1, .channel_limit_bytes = CHANNEL_LIMIT_BYTES,
                        .output_limit_bytes = (size_t)options->common.output_limit_bytes};
  start.words = need(calloc(options->flags_count + 5, sizeof(char *)));
  if (options->within) {
    start.words[0] = options->within;
    start.variables = probe_variables(options, plugin);
    return start;
  }
  size_t count = 0;
  start.words[count++] = "lockstep-loader";
  start.words[count++] = "open-one";
  for (size_t index = 0; index < options->flags_count; index++) start.words[count++] = options->flags[index];
  start.words[count++] = "--";
  start.words[count++] = plugin;
  return start;
}

/* Opens a plugin and tells what became of it; says whether no process of it stays. Tells nothing when the loader is asked to
 * end meanwhile. */
static int observe(const struct open_options *options, char *plugin) {
  const char *first = options->within ? "start" : "open";
  struct start start = plugin_start(options, plugin);
  struct running running;
  struct testimony told = {0};
  char *failure = child_start(&start, &running);
  free(start.words);
  if (failure && !options->within) fail_internal("%s", failure);
  if (failure) {
    /* A host is foreign; that it is none is seen and told like what else it may do. */
    struct verdict verdict = {"exited", first, NULL, failure};
    print_plugin(plugin, &verdict, &told, &running, 0, 0, 0);
    return 1;
  }
  enum wake wake = child_wait(&running, running.started_ms + options->common.timeout_ms);
  if (wake == WAKE_INTERRUPTED) {
    child_signal_group(&running, interrupt_signal);
    if (!child_wait_regardless(&running, now_ms() + INTERRUPT_TIMEOUT_MILLISECONDS)) child_kill(&running);
  } else if (wake == WAKE_TIMED_OUT) {
    child_kill(&running);
  }
  int64_t elapsed_ms = now_ms() - running.started_ms;
  int is_complete;
  size_t leftovers = child_sweep(&running, &is_complete);
  if (wake == WAKE_INTERRUPTED) return 1;
  child_drain(&running);
  told = testimony_hear(&running.captures[2], &options->contract);
  struct verdict verdict = judge(&told, &running, wake != WAKE_ENDED, first);
  print_plugin(plugin, &verdict, &told, &running, wake == WAKE_ENDED, leftovers, elapsed_ms);
  child_free(&running);
  return is_complete;
}

/* Removes what the last plugin has left in files, and says what is left then. A process of the plugin's user does it: this one
 * may be a root that has no power over another's files. */
static char *clear_scratch(const struct open_options *options) {
  if (!scratch_remains(options->scratch, options->scratch_count)) return NULL;
  struct start start = {.common = &options->common};
  start.words = need(calloc(options->scratch_count + 3, sizeof(char *)));
  start.words[0] = "lockstep-loader", start.words[1] = "clear";
  memcpy(start.words + 2, options->scratch, options->scratch_count * sizeof(char *));
  struct running running;
  int is_complete;
  /* A process that cannot be started removes nothing, and what remains is what counts. */
  if (!child_start(&start, &running)) {
    if (!child_wait_regardless(&running, running.started_ms + CLEAR_TIMEOUT_MILLISECONDS)) child_kill(&running);
    child_sweep(&running, &is_complete);
    child_free(&running);
  }
  free(start.words);
  return scratch_remains(options->scratch, options->scratch_count);
}

/* Opens one plugin after the other; what one does has no effect on the next. Stops early when the loader is asked to end, and
 * when something of a plugin stays: then gives what. */
char *run_open(const struct open_options *options) {
  for (size_t index = 0; index < options->plugins_count; index++) {
    /* Whoever reads knows who was at work, should this process not come to the next line. */
    struct text out = {0};
    event_begin(&out, "opening");
    text_put(&out, ",\"path\":");
    json_string(&out, options->plugins[index]);
    event_print(&out);
    int is_swept = observe(options, options->plugins[index]);
    if (interrupt_signal || index + 1 == options->plugins_count) return NULL;
    char *remains = is_swept ? clear_scratch(options) : text_of("processes");
    if (remains) return remains;
  }
  return NULL;
}
