#include <stddef.h>

#include <sqlite3ext.h>
SQLITE_EXTENSION_INIT1

static void greet(sqlite3_context *context, int count, sqlite3_value **values) {
  (void)count;
  char *greeting = sqlite3_mprintf("Hello, %s!", sqlite3_value_text(values[0]));
  sqlite3_result_text(context, greeting, -1, sqlite3_free);
}

int sqlite3_hello_init(sqlite3 *database, char **message, const sqlite3_api_routines *api) {
  (void)message;
  SQLITE_EXTENSION_INIT2(api);
  return sqlite3_create_function(database, "greet", 1, SQLITE_UTF8, NULL, greet, NULL, NULL);
}
