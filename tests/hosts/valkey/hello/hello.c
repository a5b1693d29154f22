/* The distribution has no header for Valkey's modules, so what is used of it is declared here. */
#include <stddef.h>

typedef struct context context;
typedef struct text text;
typedef int (*command)(context *, text **, int);

static int (*set_attributes)(context *, const char *, int, int);
static int (*create_command)(context *, const char *, command, const char *, int, int, int);
static text *(*create_text)(context *, const char *, ...);
static const char *(*content)(text *, size_t *);
static int (*reply)(context *, text *);

static int greet(context *context, text **arguments, int count) {
  if (count != 2) return 1;
  return reply(context, create_text(context, "Hello, %s!", content(arguments[1], NULL)));
}

/* A context begins with the function that finds all others by their names. */
static int find(context *context) {
  int (*get)(const char *, void *) = *(int (**)(const char *, void *))context;
  return get("ValkeyModule_SetModuleAttribs", &set_attributes) || get("ValkeyModule_CreateCommand", &create_command) ||
         get("ValkeyModule_CreateStringPrintf", &create_text) || get("ValkeyModule_StringPtrLen", &content) ||
         get("ValkeyModule_ReplyWithString", &reply);
}

int ValkeyModule_OnLoad(context *context, text **arguments, int count) {
  (void)arguments;
  (void)count;
  if (find(context)) return 1;
  set_attributes(context, "hello", 1, 1);
  return create_command(context, "hello.greet", greet, "readonly", 0, 0, 0);
}
