#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(greet);

Datum greet(PG_FUNCTION_ARGS) {
  char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
  PG_RETURN_TEXT_P(cstring_to_text(psprintf("Hello, %s!", name)));
}
